// Queues and command buffers: rules E8, E9, E10, E12, E15, E16.
#include "commands.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>

namespace metal_double {
namespace {

constexpr int kMaxAlive = 64;
constexpr int kDeviceRemoved = 11;
constexpr const char* kCommandDomain = "MTLCommandBufferErrorDomain";

std::atomic<int> queues_alive{0};
std::mutex hold_mutex, gpu;
std::condition_variable hold_changed;
bool held = false;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* message_of(int code) {
  switch (code) {
    case 1:
      return "Internal Error (0000000e:Internal Error)";
    case 2:
      return "Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)";
    case 3:
      return "Caused GPU Address Fault Error (0000000b:kIOGPUCommandBufferCallbackErrorPageFault)";
    case 4:
      return "Ignored (for causing prior/excessive GPU errors) "
             "(00000004:kIOGPUCommandBufferCallbackErrorSubmissionsIgnored)";
    case 5:
      return "Discarded (victim of GPU error/recovery) "
             "(00000005:kIOGPUCommandBufferCallbackErrorInnocentVictim)";
    case 8:
      return "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)";
    default:
      return "GPU error";
  }
}

void fail(CommandBuffer* commands, int code, const std::string& message, size_t culprit) {
  commands->error = make_error(kCommandDomain, code, message);
  if (!commands->explain_errors) return;
  Array* infos = pooled(make<Array>());
  for (size_t i = 0; i < commands->labels.size(); ++i) {
    EncoderInfo* info = pooled(make<EncoderInfo>());
    info->label = string(commands->labels[i]);
    info->state = i == culprit ? 4 : 2;
    infos->items.push_back(info);
  }
  Dictionary* details = pooled(make<Dictionary>());
  details->items.push_back({string("MTLCommandBufferEncoderInfoErrorKey"), infos});
  commands->error->details = details;
}

void sample(Work& work, UInt index) {
  if (work.samples && index < work.samples->samples.size())
    work.samples->samples[index] = uint64_t(seconds() * 1e9);
}

// Dispatches between two barriers of a concurrent encoder have no order: any will do.
void shuffle_groups(std::vector<std::shared_ptr<Work>>& work) {
  static std::mt19937 random(7);
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  for (auto begin = work.begin(); begin != work.end();) {
    auto end = std::find_if(begin, work.end(),
                            [&](const auto& one) { return one->group != (*begin)->group; });
    std::shuffle(begin, end, random);
    begin = end;
  }
}

// Queues know nothing of each other: the one that was given work later may run it first.
void run_across_queues() {
  static std::mt19937 random(11);
  static std::mutex mutex;
  if (queues_alive < 2) return;
  std::unique_lock<std::mutex> lock(mutex);
  const bool late = random() % 2 == 0;
  lock.unlock();
  if (late) std::this_thread::sleep_for(std::chrono::milliseconds(3));
}

void wait_while_held() {
  std::unique_lock<std::mutex> lock(hold_mutex);
  if (!hold_changed.wait_for(lock, std::chrono::seconds(20), [] { return !held; }))
    violation("commands were held and nobody let them go: who waits for them blocks the rest");
}

void execute(CommandBuffer* commands) {
  shuffle_groups(commands->work);
  const int injected = behaviour().device_lost ? kDeviceRemoved : taken(behaviour().fail_next);
  if (commands->state->poisoned) {
    fail(commands, 4, message_of(4), commands->labels.size());
    return;
  }
  if (injected) {
    commands->state->poisoned = injected == 2;
    behaviour().device_lost |= injected == kDeviceRemoved;
    fail(commands, injected, message_of(injected), commands->labels.size() - 1);
    return;
  }
  for (auto& work : commands->work) {
    sample(*work, work->start_sample);
    try {
      executor()->submit({work->dispatch});
    } catch (const std::exception& fault) {
      fail(commands, 1, fault.what(), commands->labels.size());
      return;
    }
    sample(*work, work->end_sample);
  }
}

// While nothing else executes, so that no other queue's kernel wrote there.
void check_stores(CommandBuffer* commands) {
  for (auto& work : commands->work)
    for (auto& buffer : work->buffers)
      if (!buffer->guards_intact())
        violation("Invalid device store outside %s, executing kernel function: \"%s\"",
                  describe(buffer).c_str(), work->pipeline->name.c_str());
}

void finish(CommandBuffer* commands) {
  for (auto& work : commands->work)
    for (auto& buffer : work->buffers) --buffer->in_flight;
  commands->work.clear();
  // Metal signals no event of commands that failed: who waits for one must look at the status.
  if (!commands->error)
    for (auto& [event, value] : commands->signals) event->value = value;
  std::lock_guard<std::mutex> lock(commands->mutex);
  commands->status = commands->error ? kError : kCompleted;
  commands->finished = true;
  commands->done.notify_all();
}

void leave(QueueState& state) {
  {
    std::lock_guard<std::mutex> lock(state.mutex);
    --state.alive;
  }
  state.changed.notify_all();
}

CommandBuffer* new_command_buffer(Queue* queue, bool explain_errors) {
  raise_if_told();
  buffers_explained += explain_errors;
  auto& state = *queue->state;
  {
    std::unique_lock<std::mutex> lock(state.mutex);
    const auto patience = std::chrono::milliseconds(behaviour().in_flight_wait_ms);
    if (!state.changed.wait_for(lock, patience, [&] { return state.alive < kMaxAlive; }))
      violation("commandBuffer blocks: %d command buffers of the queue are not completed",
                kMaxAlive);
    ++state.alive;
  }
  CommandBuffer* commands = make<CommandBuffer>();
  commands->state = queue->state;
  commands->explain_errors = explain_errors;
  return pooled(commands);
}

void commit(CommandBuffer* self, Sel) {
  if (self->open) {
    violation("commit command buffer with uncommitted encoder");
    return;
  }
  if (self->status >= kCommitted) {
    violation("commit an already committed command buffer");
    return;
  }
  self->status = kCommitted;
  retain(self);
  work_begins();
  {
    std::lock_guard<std::mutex> lock(self->state->mutex);
    self->state->committed.push_back(self);
  }
  self->state->changed.notify_all();
}

void wait_until_completed(CommandBuffer* self, Sel) {
  if (self->status < kCommitted) {
    violation("waitUntilCompleted before commit hangs for ever");
    return;
  }
  std::unique_lock<std::mutex> lock(self->mutex);
  self->done.wait(lock, [&] { return self->finished; });
}

struct CommandBufferDescriptor : Object {
  UInt error_options = 0;
};

}  // namespace

std::atomic<int> encoders_made{0}, buffers_explained{0};
int encoders() { return encoders_made; }
int explained() { return buffers_explained; }
void forget_counts() { encoders_made = buffers_explained = 0; }

Queue::~Queue() {
  --queues_alive;
  {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->stop = true;
  }
  state->changed.notify_all();
}

CommandBuffer::~CommandBuffer() {
  if (open) violation("a command buffer was released with an open encoder");
  for (auto& one : work)
    for (auto& buffer : one->buffers) --buffer->in_flight;
  leave(*state);
}

void run_queue(std::shared_ptr<QueueState> state) {
  for (;;) {
    CommandBuffer* commands = nullptr;
    {
      std::unique_lock<std::mutex> lock(state->mutex);
      state->changed.wait(lock, [&] { return state->stop || !state->committed.empty(); });
      if (state->committed.empty()) return;
      commands = state->committed.front();
      state->committed.pop_front();
    }
    Object* pool = push_pool();
    if (behaviour().delay_ms)
      std::this_thread::sleep_for(std::chrono::milliseconds(behaviour().delay_ms));
    wait_while_held();
    run_across_queues();
    commands->status = kScheduled;
    std::unique_lock<std::mutex> lock(gpu);
    const double start = seconds();
    execute(commands);
    check_stores(commands);
    lock.unlock();
    commands->start = start;
    commands->end = seconds();
    finish(commands);
    pop_pool(pool);
    release(commands);
    work_ends();
  }
}

void hold(bool wanted) {
  {
    std::lock_guard<std::mutex> lock(hold_mutex);
    held = wanted;
  }
  hold_changed.notify_all();
}

Object* new_queue() {
  Queue* queue = make<Queue>();
  ++queues_alive;
  std::thread(run_queue, queue->state).detach();
  return queue;
}

void register_commands() {
  register_encoders();
  Type<CommandBufferDescriptor>("MTLCommandBufferDescriptor", root_class())
      .property<&CommandBufferDescriptor::error_options>("errorOptions", "setErrorOptions:");
  Type<EncoderInfo>("_MTLCommandBufferEncoderInfo", root_class())
      .property<&EncoderInfo::label>("label")
      .property<&EncoderInfo::state>("errorState");
  Type<Queue>("_MTLCommandQueue", root_class())
      .method("commandBuffer", [](Queue* self, Sel) { return new_command_buffer(self, false); })
      .method("commandBufferWithDescriptor:",
              [](Queue* self, Sel, CommandBufferDescriptor* descriptor) {
                return new_command_buffer(self, descriptor->error_options & 1);
              });
  Type<CommandBuffer>("_MTLCommandBuffer", root_class())
      .method("setLabel:", [](CommandBuffer*, Sel, Object*) {})
      .method("computeCommandEncoder",
              [](CommandBuffer* self, Sel) { return new_encoder(self, nullptr, false); })
      .method("computeCommandEncoderWithDispatchType:",
              [](CommandBuffer* self, Sel, UInt order) {
                return new_encoder(self, nullptr, order == 1);
              })
      .method("computeCommandEncoderWithDescriptor:",
              [](CommandBuffer* self, Sel, PassDescriptor* pass) {
                return new_encoder(self, pass, pass && pass->order == 1);
              })
      .method("status", [](CommandBuffer* self, Sel) { return UInt(self->status); })
      .method("error", [](CommandBuffer* self, Sel) { return self->error.object; })
      .method("GPUStartTime", [](CommandBuffer* self,
                                 Sel) { return self->status >= kCompleted ? self->start : 0.0; })
      .method("GPUEndTime",
              [](CommandBuffer* self, Sel) { return self->status >= kCompleted ? self->end : 0.0; })
      .method("encodeSignalEvent:value:",
              [](CommandBuffer* self, Sel, SharedEvent* event, uint64_t value) {
                self->signals.push_back({event, value});
              })
      .method("commit", commit)
      .method("waitUntilCompleted", wait_until_completed);
}

}  // namespace metal_double
