// Queues, command buffers and encoders.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <thread>

#include "metal_objects.h"

namespace metal_double {

struct Size {
  UInt width, height, depth;
  UInt count() const { return width * height * depth; }
};

struct Work {
  Ref<Pipeline> pipeline;
  std::vector<Ref<Buffer>> buffers;
  std::vector<Ref<FunctionTable>> tables;
  attnproto::Dispatch dispatch;
  Ref<SampleBuffer> samples;
  UInt start_sample = ~UInt(0), end_sample = ~UInt(0);
  int group = 0;  // dispatches of one group may run in any order
};

enum Status { kNotEnqueued = 0, kCommitted = 2, kScheduled = 3, kCompleted = 4, kError = 5 };

struct CommandBuffer;

struct Encoder : Object {
  Ref<CommandBuffer> commands;
  std::thread::id thread = std::this_thread::get_id();
  bool ended = false, concurrent = false;
  size_t violations_before = violation_count();
  std::string label;
  Ref<Pipeline> pipeline;
  struct Slot {
    Ref<Buffer> buffer;
    UInt offset = 0;
    std::string bytes;
    Ref<FunctionTable> table;
  } slots[31];
  UInt threadgroup_memory[31] = {};
  Ref<PassDescriptor> pass;
  ~Encoder();
};

struct SharedEvent : Object {
  std::atomic<uint64_t> value{0};
};

struct EncoderInfo : Object {
  Ref<String> label;
  UInt state = 1;
};

// Outlives the Queue object while its thread still works.
struct QueueState {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<CommandBuffer*> committed;
  bool stop = false;
  bool poisoned = false;  // after a timeout Metal ignores the queue's submissions
  int alive = 0;
};

struct Queue : Object {
  std::shared_ptr<QueueState> state = std::make_shared<QueueState>();
  ~Queue();
};

struct CommandBuffer : Object {
  std::shared_ptr<QueueState> state;
  Encoder* open = nullptr;
  std::atomic<int> status{kNotEnqueued};
  bool explain_errors = false;
  int group = 0;
  std::vector<std::shared_ptr<Work>> work;
  std::vector<std::string> labels;
  double start = 0, end = 0;
  Ref<ErrorObject> error;
  std::vector<std::pair<Ref<SharedEvent>, uint64_t>> signals;
  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;
  ~CommandBuffer();
};

void run_queue(std::shared_ptr<QueueState> state);
void register_encoders();
extern std::atomic<int> encoders_made, buffers_explained;
Encoder* new_encoder(CommandBuffer* commands, PassDescriptor* pass, bool concurrent);

}  // namespace metal_double
