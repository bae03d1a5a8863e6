// Encoding: rules E4, E5, E6, E7, E9, E18.
#include <cstring>
#include <set>

#include "commands.h"

namespace metal_double {
namespace {

bool usable(Encoder* self, const char* what) {
  if (self->ended) {
    violation("-[%s %s] after endEncoding", describe(self).c_str(), what);
    return false;
  }
  if (self->thread != std::this_thread::get_id())
    violation("-[%s %s] on another thread than the encoder's", describe(self).c_str(), what);
  return true;
}

bool slot_exists(UInt index, const char* what) {
  if (index <= 30) return true;
  violation("%s: index(%zu) must be < 31", what, size_t(index));
  return false;
}

void set_buffer(Encoder* self, Sel, Buffer* buffer, UInt offset, UInt index) {
  if (!usable(self, "setBuffer") || !slot_exists(index, "setBuffer")) return;
  if (buffer && offset >= buffer->bytes) {
    violation("setBuffer: offset(%zu) must be < length(%zu)", size_t(offset), buffer->bytes);
    return;
  }
  self->slots[index] = {};
  self->slots[index].buffer = buffer;
  self->slots[index].offset = offset;
}

void set_bytes(Encoder* self, Sel, const void* bytes, UInt length, UInt index) {
  if (!usable(self, "setBytes") || !slot_exists(index, "setBytes")) return;
  if (!bytes || length == 0 || length > 4096) {
    violation("setBytes: length(%zu) must be 1 to 4096", size_t(length));
    return;
  }
  self->slots[index] = {};
  self->slots[index].bytes.assign(static_cast<const char*>(bytes), length);
}

void set_table(Encoder* self, Sel, FunctionTable* table, UInt index) {
  if (!usable(self, "setVisibleFunctionTable") || !slot_exists(index, "setVisibleFunctionTable"))
    return;
  self->slots[index] = {};
  self->slots[index].table = table;
}

void set_threadgroup_memory(Encoder* self, Sel, UInt length, UInt index) {
  if (!usable(self, "setThreadgroupMemoryLength") ||
      !slot_exists(index, "setThreadgroupMemoryLength"))
    return;
  if (length % 16 != 0)
    violation("setThreadgroupMemoryLength: length(%zu) must be a multiple of 16 bytes.",
              size_t(length));
  self->threadgroup_memory[index] = length;
}

void set_pipeline(Encoder* self, Sel, Pipeline* pipeline) {
  if (!usable(self, "setComputePipelineState")) return;
  if (!pipeline) violation("setComputePipelineState: must not be nil");
  self->pipeline = pipeline;
}

// False when Metal would drop the dispatch, or abort under the debug layer.
bool allowed(Encoder* self, Size groups, Size threads) {
  if (!self->pipeline) {
    violation("dispatch without setComputePipelineState");
    return false;
  }
  if (groups.count() == 0 || threads.count() == 0) {
    violation("dispatch with a zero dimension");
    return false;
  }
  if (threads.count() > self->pipeline->max_threads) {
    violation(
        "(threadsPerThreadgroup.width(%zu) * ...)(%zu) must be <= %zu. (kernel threadgroup "
        "size limit)",
        size_t(threads.width), size_t(threads.count()), size_t(self->pipeline->max_threads));
    return false;
  }
  UInt memory = self->pipeline->static_threadgroup_bytes;
  for (UInt bytes : self->threadgroup_memory) memory += bytes;
  if (memory > 32768) {
    violation("threadgroup memory(%zu) must be <= 32768", size_t(memory));
    return false;
  }
  return true;
}

void bind(Encoder* self, Work& work) {
  std::set<Buffer*> bound;
  for (uint32_t index = 0; index < 31; ++index) {
    auto& slot = self->slots[index];
    if (slot.buffer) {
      if (!bound.insert(slot.buffer).second)
        warning("%s is bound to two arguments of %s", describe(slot.buffer).c_str(),
                work.pipeline->name.c_str());
      work.buffers.push_back(slot.buffer);
      ++slot.buffer->in_flight;
      work.dispatch.bindings.push_back(
          {index, attnproto::HostMemory{slot.buffer->contents + slot.offset,
                                        slot.buffer->bytes - slot.offset, true}});
    } else if (!slot.bytes.empty()) {
      work.dispatch.bindings.push_back({index, attnproto::InlineBytes(slot.bytes)});
    } else if (slot.table) {
      if (slot.table->pipeline.object != work.pipeline.object) {
        violation("function table of another pipeline state at index %u", index);
        continue;
      }
      work.tables.push_back(slot.table);
      work.dispatch.function_tables.push_back(
          {index, work.pipeline->executable->function_table(slot.table->names)});
    }
    if (self->threadgroup_memory[index])
      work.dispatch.threadgroup_memory.push_back(
          {index, uint32_t(self->threadgroup_memory[index])});
  }
}

attnproto::Extent extent(Size size) {
  return {uint32_t(size.width), uint32_t(size.height), uint32_t(size.depth)};
}

void add_work(Encoder* self, Size groups, Size threads, const Size* grid) {
  if (!usable(self, "dispatch") || !allowed(self, groups, threads)) return;
  // A rule was broken while encoding: the debug layer would have stopped by now.
  if (violation_count() != self->violations_before) return;
  auto work = std::make_shared<Work>();
  work->pipeline = self->pipeline;
  work->dispatch.pipeline = self->pipeline->executable;
  work->dispatch.threadgroups = extent(groups);
  work->dispatch.threads = extent(threads);
  if (grid) work->dispatch.grid = extent(*grid);
  bind(self, *work);
  if (!self->concurrent) ++self->commands->group;
  work->group = self->commands->group;
  if (self->pass && self->pass->samples && self->pass->samples->attachments[0]) {
    auto& attachment = *self->pass->samples->attachments[0].object;
    work->samples = attachment.buffer;
    work->start_sample = attachment.start;
    work->end_sample = attachment.end;
  }
  self->commands->work.push_back(work);
}

void end_encoding(Encoder* self, Sel) {
  if (!usable(self, "endEncoding")) return;
  self->ended = true;
  self->commands->open = nullptr;
  self->commands->labels.push_back(self->label);
}

}  // namespace

Encoder::~Encoder() {
  if (!ended) violation("a compute command encoder was released without endEncoding");
}

Encoder* new_encoder(CommandBuffer* commands, PassDescriptor* pass, bool concurrent) {
  if (commands->status >= kCommitted) {
    violation("computeCommandEncoder on a committed command buffer");
    return nullptr;
  }
  if (commands->open) {
    violation("computeCommandEncoder while %s is still open", describe(commands->open).c_str());
    return nullptr;
  }
  ++encoders_made;
  Encoder* encoder = make<Encoder>();
  encoder->commands = commands;
  encoder->concurrent = concurrent;
  encoder->pass = pass;
  commands->open = encoder;
  ++commands->group;
  if (pass && pass->samples && pass->samples->attachments[0]) {
    auto& attachment = *pass->samples->attachments[0].object;
    if (!behaviour().counters)
      violation(
          "computeCommandEncoderWithDescriptor: this GPU does not sample at stage boundaries");
    const size_t count = attachment.buffer ? attachment.buffer->samples.size() : 0;
    for (UInt sample : {attachment.start, attachment.end})
      if (sample != ~UInt(0) && sample >= count)
        violation("sample index(%zu) must be < sampleCount(%zu)", size_t(sample), count);
  }
  return pooled(encoder);
}

void register_encoders() {
  Type<Encoder>("_MTLComputeCommandEncoder", root_class())
      .method("setLabel:", [](Encoder* self, Sel, Object* label) { self->label = text(label); })
      .method("setComputePipelineState:", set_pipeline)
      .method("setBuffer:offset:atIndex:", set_buffer)
      .method("setBytes:length:atIndex:", set_bytes)
      .method("setVisibleFunctionTable:atBufferIndex:", set_table)
      .method("setThreadgroupMemoryLength:atIndex:", set_threadgroup_memory)
      .method("memoryBarrierWithScope:",
              [](Encoder* self, Sel, UInt) {
                if (usable(self, "memoryBarrier")) ++self->commands->group;
              })
      .method("sampleCountersInBuffer:atSampleIndex:withBarrier:",
              [](Encoder*, Sel, Object*, UInt, bool) {
                violation(
                    "sampleCountersInBuffer is not available: this GPU samples at stage "
                    "boundaries only");
              })
      .method("dispatchThreadgroups:threadsPerThreadgroup:",
              [](Encoder* self, Sel, Size groups, Size threads) {
                add_work(self, groups, threads, nullptr);
              })
      .method("dispatchThreads:threadsPerThreadgroup:",
              [](Encoder* self, Sel, Size grid, Size threads) {
                auto over = [](UInt a, UInt b) { return b ? (a + b - 1) / b : 0; };
                add_work(self,
                         {over(grid.width, threads.width), over(grid.height, threads.height),
                          over(grid.depth, threads.depth)},
                         threads, &grid);
              })
      .method("endEncoding", end_encoding);
}

}  // namespace metal_double
