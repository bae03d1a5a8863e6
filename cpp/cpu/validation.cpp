#include "validation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "check.h"

namespace attnproto::cpu {
namespace {

// A pointer: 16 bits of tag, then for a binding its offset from the middle of 48 bits,
// for threadgroup memory 8 bits of array and its offset from the middle of 24.
constexpr uint64_t kThreadgroupTag = 0x7f;
constexpr uint32_t kTagShift = 48, kArrayShift = 24;
constexpr int64_t kMiddle = int64_t(1) << 46, kArrayMiddle = 1 << 23;
constexpr uint64_t kNullBytes = 4096;   // an index from a null pointer strays as far
constexpr uint32_t kStaticArrays = 32;  // arrays below are [[threadgroup(i)]] arguments

uint64_t buffer_pointer(uint32_t index) {
  return (uint64_t(index) + 1) << kTagShift | uint64_t(kMiddle);
}

// A length may be anything, where a kernel computes it.
bool inside(int64_t offset, uint64_t bytes, uint64_t size) {
  return offset >= 0 && bytes <= size && uint64_t(offset) <= size - bytes;
}

uint32_t array_offset(uint32_t number) { return number << kArrayShift | uint32_t(kArrayMiddle); }

}  // namespace

Validation::Validation() : lanes_(kMaxThreads), threadgroup_cells_(kMaxThreadgroupBytes) {
  nowhere_.name = "memory that nothing is bound to";
  constant_table_.name = "a constant table";
  local_.name = "a local variable";
}

void Validation::bind_memory(uint32_t index, void* base, size_t bytes, bool writable,
                             std::string name, attn_group& group) {
  Memory& memory = buffers_[index];
  memory.base = static_cast<unsigned char*>(base);
  memory.bytes = int64_t(bytes);
  memory.writable = writable;
  memory.binding = uint8_t(index);
  memory.name = "buffer " + std::to_string(index) + (name.empty() ? "" : " (" + name + ")");
  group.buffers[index] = reinterpret_cast<void*>(buffer_pointer(index));
}

void Validation::bind(const Dispatch& dispatch, const std::vector<KernelArgument>& arguments,
                      attn_group& group, bool overlap) {
  for (Memory& memory : buffers_) memory = Memory();
  for (Memory& memory : arrays_) memory = Memory();
  for (const Binding& binding : dispatch.bindings) {
    auto* host = std::get_if<HostMemory>(&binding.source);
    bool writable = host ? host->writable : std::holds_alternative<DeviceMemory>(binding.source);
    std::string name;
    for (const KernelArgument& argument : arguments)
      if (argument.kind == KernelArgument::Kind::Buffer && argument.index == binding.index)
        name = argument.name;
    bind_memory(binding.index, group.buffers[binding.index], binding_bytes(binding), writable, name,
                group);
  }
  for (const ThreadgroupMemory& memory : dispatch.threadgroup_memory) {
    Memory& array = arrays_[memory.index];
    uint32_t& offset = group.threadgroup_offsets[memory.index];
    array.base = reinterpret_cast<unsigned char*>(uintptr_t(offset));  // begin() adds the rest
    array.bytes = memory.bytes;
    array.name = "threadgroup memory " + std::to_string(memory.index);
    offset = array_offset(memory.index);
  }
  share_allocations(overlap);
}

void Validation::bind_table(uint32_t index, const uint64_t* words, size_t count,
                            attn_group& group) {
  bind_memory(index, const_cast<uint64_t*>(words), count * sizeof(uint64_t), false, "", group);
}

void Validation::share_allocations(bool overlap) {
  allocations_.clear();
  std::vector<Memory*> bound;
  for (Memory& memory : buffers_)
    if (memory.base && memory.bytes) bound.push_back(&memory);
  std::sort(bound.begin(), bound.end(), [](auto* a, auto* b) { return a->base < b->base; });
  for (Memory* memory : bound) {
    auto begin = reinterpret_cast<uintptr_t>(memory->base), end = begin + uintptr_t(memory->bytes);
    if (allocations_.empty() || begin >= allocations_.back()->end)
      allocations_.push_back(
          std::make_unique<Allocation>(Allocation{begin & ~uintptr_t(15), end, begin, overlap}));
    Allocation& allocation = *allocations_.back();
    allocation.end = std::max(allocation.end, end);
    allocation.watched |= memory->writable;
    memory->allocation = &allocation;
  }
}

void Validation::begin(Threadgroup& group) {
  group_ = &group;
  const attn_group& shared = group.shared;
  const uint32_t (&at)[3] = shared.threadgroup_position;
  const uint32_t (&n)[3] = shared.threadgroups;
  group_number_ = 1 + at[0] + n[0] * (at[1] + n[1] * at[2]);
  if (clock_ > 0xf0000000u) {
    clock_ = 1;
    std::fill(threadgroup_cells_.begin(), threadgroup_cells_.end(), Cell{});
  }
  begun_ = ++clock_;
  for (uint32_t& since : since_group_) since = begun_;
  for (auto& since : since_simdgroup_) since[0] = since[1] = begun_;
  std::fill(lanes_.begin(), lanes_.end(), Lane());
}

void* Validation::threadgroup_memory() {
  return reinterpret_cast<void*>(kThreadgroupTag << kTagShift);
}

uint64_t Validation::threadgroup_array(uint32_t number, uint32_t offset, uint32_t bytes,
                                       const Site* site) {
  Memory& array = arrays_[kStaticArrays + number];
  array.base = reinterpret_cast<unsigned char*>(uintptr_t(offset));
  array.bytes = bytes;
  array.declared = site;
  return kThreadgroupTag << kTagShift | array_offset(kStaticArrays + number);
}

void* Validation::access(Fiber& lane, uint64_t pointer, uint64_t bytes, const Site& site) {
  uint64_t tag = pointer >> kTagShift;
  if (pointer < kNullBytes) refuse(lane, "null-pointer", "uses a null pointer", site);
  if (site.bytes) bytes = site.bytes;
  if (tag == 0) {
    if (!is_own(lane, pointer, bytes, site))
      refuse(lane, "foreign-pointer", "uses an address of the host's", site);
    return reinterpret_cast<void*>(pointer);
  }
  if (!settle()) abandon(lane);
  bool in_threadgroup = tag == kThreadgroupTag;
  if (!in_threadgroup && tag > kMaxBufferIndex)
    refuse(lane, "out-of-bounds", nowhere_, 0, bytes, site);
  const Memory& memory =
      in_threadgroup ? arrays_[(pointer >> kArrayShift) & 0xff] : buffers_[tag - 1];
  int64_t offset = in_threadgroup ? int64_t(pointer & ((1u << kArrayShift) - 1)) - kArrayMiddle
                                  : int64_t(pointer & ((uint64_t(1) << kTagShift) - 1)) - kMiddle;
  if (!inside(offset, bytes, uint64_t(memory.bytes)))
    refuse(lane, "out-of-bounds", memory, offset, bytes, site);
  auto begin = reinterpret_cast<uintptr_t>(memory.base);
  if (in_threadgroup) begin += reinterpret_cast<uintptr_t>(group_->shared.threadgroup_memory);
  uintptr_t address = begin + uint64_t(offset);
  if (address & (site.alignment - 1)) refuse(lane, "misaligned", memory, offset, bytes, site);
  if ((site.kind & kWrite) && !memory.writable)
    refuse(lane, "read-only", memory, offset, bytes, site);
  if (in_threadgroup) {
    uint64_t at = reinterpret_cast<uintptr_t>(memory.base) + uint64_t(offset);
    touch<kThreadgroup>(lane, memory, threadgroup_cells_.data(), at, offset, bytes,
                        reinterpret_cast<unsigned char*>(address), site);
  } else if (memory.allocation && memory.allocation->watched) {
    Allocation& all = *memory.allocation;
    if (!all.cells) {
      all.sites = &site - site.index;
      all.shift = site.shift;
      all.cells.reset(
          static_cast<Cell*>(std::calloc(((all.end - all.begin) >> site.shift) + 1, sizeof(Cell))));
    }
    if (!all.cells) throw std::bad_alloc();
    touch<kDevice>(lane, memory, all.cells.get(), address - all.begin, offset, bytes,
                   reinterpret_cast<unsigned char*>(address), site);
  }
  return reinterpret_cast<void*>(address);
}

// Whether an address lies in a variable of the lane or in a constant table of its kernel.
bool Validation::is_own(const Fiber& lane, uint64_t pointer, uint64_t bytes, const Site& site) {
  auto holds = [&](const unsigned char* begin, const unsigned char* end) {
    auto first = reinterpret_cast<uintptr_t>(begin);
    return pointer >= first &&
           inside(int64_t(pointer - first), bytes, reinterpret_cast<uintptr_t>(end) - first);
  };
  const ConstantTable* table = site.tables;
  while (table->begin && !holds(table->begin, table->end)) table++;
  if (table->begin) return true;
  const Threadgroup& group = *lane.simdgroup->threadgroup;
  const uint32_t index = lane.public_state.index;
  return holds(group.stack_of(index), group.stack_of(index + 1));
}

template <Validation::Space space>
bool Validation::is_set(const Stamp& stamp) const {
  return space == kDevice ? stamp.clock != 0 : stamp.clock >= begun_;
}

bool Validation::any_set(const Cell* begin, const Cell* end) const {
  return std::any_of(begin, end,
                     [&](const Cell& cell) { return is_set<kThreadgroup>(cell.write); });
}

// Whether everything the stamp's thread did then is visible to `thread` now.
template <Validation::Space space>
bool Validation::ordered(const Stamp& stamp, uint32_t thread) const {
  if (!is_set<space>(stamp)) return true;
  if (space == kDevice && stamp.group != group_number_) return false;
  if (stamp.thread == thread || stamp.clock < since_group_[space]) return true;
  uint32_t simdgroup = thread / kLanes;
  return stamp.thread / kLanes == simdgroup && stamp.clock < since_simdgroup_[simdgroup][space];
}

// Keeps two readers, of two threadgroups or else two simdgroups if there are, so that a
// later write finds one that is not ordered before it whenever one exists.
template <Validation::Space space>
void Validation::remember_read(Cell& cell, const Stamp& now) {
  auto distance = [&](const Stamp& stamp) {
    if (!is_set<space>(stamp)) return -1;
    if (space == kDevice && stamp.group != now.group) return 4;
    if (stamp.clock < since_group_[space]) return 0;
    if (stamp.thread / kLanes != now.thread / kLanes) return 3;
    return stamp.thread != now.thread ? 2 : 1;
  };
  if (distance(cell.read) >= distance(cell.other_read)) cell.other_read = cell.read;
  cell.read = now;
}

template <Validation::Space space>
void Validation::touch(Fiber& lane, const Memory& memory, Cell* cells, uint64_t at, int64_t offset,
                       uint64_t bytes, const unsigned char* address, const Site& site) {
  const uint32_t thread = lane.public_state.index;
  const bool atomic = site.kind & kAtomic;
  const Stamp now = {clock_,         group_number_,  uint16_t(thread), uint16_t(site.index),
                     memory.binding, uint8_t(atomic)};
  auto races = [&](const Stamp& earlier) {
    return !ordered<space>(earlier, thread) && !(atomic && earlier.atomic);
  };
  auto aliases = [&](const Stamp& earlier) {
    return space == kDevice && is_set<space>(earlier) && earlier.binding != memory.binding;
  };
  const uint64_t last = (at + bytes - 1) >> site.shift;
  for (uint64_t i = at >> site.shift; i <= last; i++) {
    Cell& cell = cells[i];
    int64_t here = std::max(offset, offset + int64_t((i << site.shift) - at));
    if (races(cell.write)) {
      if (site.kind != kWrite || bytes > sizeof suspect_.before)
        refuse(lane, "race", memory, here, bytes, site, &cell.write, true);
      suspect(lane, memory, offset, bytes, address, site, cell.write);
    }
    if (aliases(cell.write)) refuse(lane, "alias", memory, here, bytes, site, &cell.write, true);
    if (site.kind & kRead) {
      if (space == kThreadgroup && !is_set<space>(cell.write) && !(site.kind & kKept) &&
          !((site.kind & kCopy) && any_set(cells + (at >> site.shift), cells + last + 1)))
        refuse(lane, "uninitialised", memory, here, bytes, site);
      remember_read<space>(cell, now);
    }
    if (site.kind & kWrite) {
      for (const Stamp* earlier : {&cell.read, &cell.other_read}) {
        if (races(*earlier)) refuse(lane, "race", memory, here, bytes, site, earlier);
        if (aliases(*earlier)) refuse(lane, "alias", memory, here, bytes, site, earlier);
      }
      cell.write = now;
    }
  }
}

void Validation::suspect(const Fiber& lane, const Memory& memory, int64_t offset, size_t bytes,
                         const unsigned char* address, const Site& site, const Stamp& earlier) {
  suspect_ = {true, &lane, &memory, &site, earlier, offset, bytes, address, {}};
  std::memcpy(suspect_.before, address, bytes);
}

bool Validation::settle() {
  if (!suspect_.open) return true;
  const Suspect& s = suspect_;
  suspect_.open = false;
  if (std::memcmp(s.before, s.address, s.bytes) == 0 || finding_) return true;
  find("race", *s.lane, *s.memory, s.offset, s.bytes, *s.site, &s.earlier, true);
  return false;
}

void Validation::made_nan(Fiber& lane, const Site& site) { refuse(lane, "nan", "computes", site); }

void Validation::refuse(Fiber& lane, const char* kind, const char* action, const Site& site) {
  find(kind, {party(lane, &site, action)});
  abandon(lane);
}

void Validation::check_constant(Fiber& lane, int64_t offset, uint64_t bytes, uint64_t size,
                                const Site& site) {
  if (inside(offset, bytes, size)) return;
  constant_table_.bytes = int64_t(size);
  refuse(lane, "out-of-bounds", constant_table_, offset, bytes, site);
}

void Validation::check_local(Fiber& lane, int64_t offset, uint64_t bytes, uint64_t size,
                             const Site& site) {
  if (inside(offset, bytes, size)) return;
  local_.bytes = int64_t(size);
  refuse(lane, "local-array", local_, offset, bytes, site);
}

Party Validation::party(const Fiber& lane, const Site* site, const char* action) const {
  Party party;
  party.action = action;
  if (site) party.line = site->line, party.source = site->source;
  std::copy_n(group_->shared.threadgroup_position, 3, party.threadgroup);
  party.thread = lane.public_state.index;
  return party;
}

Party Validation::party(const Stamp& stamp, const Site& site, const uint32_t (&n)[3], bool write) {
  Party party;
  party.action = write ? "wrote" : "read";
  if (stamp.atomic) party.action += " atomically";
  party.line = site.line;
  party.source = site.source;
  uint32_t linear = stamp.group - 1;
  party.threadgroup[0] = linear % n[0];
  party.threadgroup[1] = linear / n[0] % n[1];
  party.threadgroup[2] = linear / (n[0] * n[1]);
  party.thread = stamp.thread;
  return party;
}

std::string Validation::describe(const Memory& memory) const {
  if (memory.declared) {
    const std::string line = std::to_string(memory.declared->line);
    return "the threadgroup memory " + (memory.declared->line ? "of line " + line + " `" : "`") +
           memory.declared->source + "`";
  }
  return memory.name.empty() ? nowhere_.name : memory.name;
}

void Validation::find(const char* kind, std::vector<Party> parties) {
  finding_ = std::make_unique<Finding>();
  finding_->kind = kind;
  finding_->parties = std::move(parties);
  group_->fault = finding_->kind;
}

void Validation::find(const char* kind, const Fiber& lane, const Memory& memory, int64_t offset,
                      uint64_t bytes, const Site& site, const Stamp* earlier, bool earlier_writes) {
  const char* action = site.kind & kAtomic  ? "accesses atomically"
                       : site.kind & kWrite ? "writes"
                                            : "reads";
  find(kind, {party(lane, &site, action)});
  if (earlier)
    finding_->parties.push_back(party(*earlier, *(&site - site.index + earlier->site),
                                      group_->shared.threadgroups, earlier_writes));
  finding_->memory = describe(memory);
  finding_->offset = offset;
  finding_->memory_bytes = uint64_t(memory.bytes);
  finding_->bytes = uint32_t(bytes);
}

void Validation::refuse(Fiber& lane, const char* kind, const Memory& memory, int64_t offset,
                        uint64_t bytes, const Site& site, const Stamp* earlier,
                        bool earlier_writes) {
  find(kind, lane, memory, offset, bytes, site, earlier, earlier_writes);
  abandon(lane);
}

Finding Validation::take_finding() {
  Finding finding = std::move(*finding_);
  finding_.reset();
  return finding;
}

}  // namespace attnproto::cpu
