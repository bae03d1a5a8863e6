// Dispatches of a concurrent submission have no order between them, save across barrier_before.
//
// They run one after the other here, each with a history of its own. When one has ended, its
// history is held against those of the dispatches that it may overlap: a granule that one of two
// writes is a race, unless both are atomic, or the write changes nothing of what the other had.
#include <algorithm>
#include <cstring>
#include <utility>

#include "validation.h"

namespace attnproto::cpu {

void Validation::end_dispatch(const std::string& kernel) {
  for (const Overlapping& earlier : overlapping_)
    for (const auto& before : earlier.allocations)
      for (const auto& now : allocations_)
        if (before->cells && now->cells) compare(earlier, *before, *now, kernel);
  for (auto& allocation : allocations_)
    if (allocation->cells) {
      auto* first = reinterpret_cast<const unsigned char*>(allocation->first);
      allocation->contents.assign(first, first + (allocation->end - allocation->first));
    }
  Overlapping& done = overlapping_.emplace_back();
  done.kernel = kernel;
  std::copy_n(group_->shared.threadgroups, 3, done.threadgroups);
  done.allocations = std::exchange(allocations_, {});
}

void Validation::compare(const Overlapping& earlier, const Allocation& before,
                         const Allocation& now, const std::string& kernel) const {
  const uintptr_t begin = std::max(before.first, now.first), end = std::min(before.end, now.end);
  // Accesses cover whole granules, of which one kernel may have smaller ones than the other.
  const uintptr_t granule = uintptr_t(1) << std::min(before.shift, now.shift);
  for (uintptr_t at = (begin + granule - 1) & ~(granule - 1); at < end; at += granule) {
    const Cell& theirs = before.cells[(at - before.begin) >> before.shift];
    const Cell& ours = now.cells[(at - now.begin) >> now.shift];
    auto set = [](const Stamp& stamp) { return stamp.clock != 0; };
    if (!set(theirs.write) && !set(ours.write)) continue;
    const size_t bytes = std::min(size_t(granule), size_t(end - at));
    const bool changed = std::memcmp(reinterpret_cast<const void*>(at),
                                     before.contents.data() + (at - before.first), bytes) != 0;
    auto found = [&](const Stamp& mine, bool write, const Stamp& other, bool other_writes) {
      if (!set(mine) || !set(other) || (mine.atomic && other.atomic)) return;
      if (write && !changed && (other_writes || !set(theirs.write))) return;
      Finding finding;
      finding.kind = "dispatch-race";
      const Memory& memory = buffers_[mine.binding];
      finding.memory = describe(memory);
      finding.offset = int64_t(at - reinterpret_cast<uintptr_t>(memory.base));
      finding.memory_bytes = uint64_t(memory.bytes);
      finding.bytes = uint32_t(bytes);
      finding.parties = {
          party(mine, now.sites[mine.site], group_->shared.threadgroups, write),
          party(other, before.sites[other.site], earlier.threadgroups, other_writes)};
      finding.parties[1].kernel = earlier.kernel;
      throw ValidationFault(kernel, std::move(finding));
    };
    found(ours.write, true, theirs.write, true);
    for (const Stamp* read : {&ours.read, &ours.other_read})
      found(*read, false, theirs.write, true);
    for (const Stamp* read : {&theirs.read, &theirs.other_read})
      found(ours.write, true, *read, false);
  }
}

}  // namespace attnproto::cpu
