// Rules of memory, encoders, queues, pools and faults, each broken on purpose.
#include <thread>

#include "machine.h"

using namespace metal_double;

TEST("E7 counters: at stage boundaries only, zero until run, at most 4096 samples") {
  Machine m;
  EXPECT(!m.device->supportsCounterSampling(MTL::CounterSamplingPointAtDispatchBoundary));
  auto descriptor = make<MTL::CounterSampleBufferDescriptor>();
  descriptor->setCounterSet(m.device->counterSets()->object<MTL::CounterSet>(0));
  descriptor->setSampleCount(4097);
  EXPECT(!NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error)));
  descriptor->setSampleCount(2);
  auto samples = NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error));
  auto* early = samples->resolveCounterRange(NS::Range(0, 2));
  uint64_t ticks[2] = {1, 1};
  memcpy(ticks, attnproto::metal::data_bytes(early), sizeof ticks);
  EXPECT(ticks[0] == 0 && ticks[1] == 0);
  auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
  encoder->sampleCountersInBuffer(samples.get(), 0, true);
  EXPECT(reported("sampleCountersInBuffer is not available"));
  encoder->endEncoding();
  samples->resolveCounterRange(NS::Range(0, 3));
  EXPECT(reported("range ends beyond"));
}

TEST("E7 NSData answers to bytes and not to mutableBytes") {
  Machine m;
  auto descriptor = make<MTL::CounterSampleBufferDescriptor>();
  descriptor->setCounterSet(m.device->counterSets()->object<MTL::CounterSet>(0));
  descriptor->setSampleCount(2);
  auto samples = NS::TransferPtr(m.device->newCounterSampleBuffer(descriptor.get(), &m.error));
  samples->resolveCounterRange(NS::Range(0, 2))->mutableBytes();
  EXPECT(reported("mutableBytes]: unrecognized selector"));
}

TEST("E8 GPU times are zero until completion, and contents in flight are reported") {
  Machine m;
  behaviour().delay_ms = 50;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->setBuffer(x.get(), 0, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  commands->commit();
  EXPECT(commands->GPUStartTime() == 0 && commands->GPUEndTime() == 0);
  y->contents();
  EXPECT(reported("while a command buffer using it is in flight"));
  commands->waitUntilCompleted();
  EXPECT(commands->GPUStartTime() > 0 && commands->GPUEndTime() >= commands->GPUStartTime());
}

TEST("E9 encoders: one at a time, ended before commit, never used after, on one thread") {
  Machine m;
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  EXPECT(!commands->computeCommandEncoder() && reported("is still open"));
  commands->commit();
  EXPECT(reported("commit command buffer with uncommitted encoder"));
  commands->waitUntilCompleted();
  EXPECT(reported("waitUntilCompleted before commit"));
  auto state = m.plain();
  std::thread([&] { encoder->setComputePipelineState(state.get()); }).join();
  EXPECT(reported("on another thread"));
  encoder->endEncoding();
  encoder->setBytes("x", 1, 0);
  EXPECT(reported("after endEncoding"));
  commands->commit();
  commands->commit();
  EXPECT(reported("commit an already committed"));
  commands->waitUntilCompleted();
  EXPECT(!commands->computeCommandEncoder() && reported("on a committed command buffer"));
}

TEST("E9 an encoder released un-ended and a dispatch without a pipeline are reported") {
  Machine m;
  {
    Pool inner;
    auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    EXPECT(reported("without setComputePipelineState"));
  }
  EXPECT(reported("released without endEncoding"));
}

TEST("E10 a concurrent encoder runs what no barrier orders in any order") {
  Machine m;
  auto state = m.plain();
  int disorders = 0;
  for (int round = 0; round < 20; ++round) {
    auto a = m.buffer(), b = m.buffer(), c = m.buffer();
    static_cast<float*>(a->contents())[0] = 1;
    auto* commands = m.queue->commandBuffer();
    auto* encoder = commands->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encoder->setComputePipelineState(state.get());
    for (auto [to, from] : {std::pair{b.get(), a.get()}, std::pair{c.get(), b.get()}}) {
      encoder->setBuffer(to, 0, 0);
      encoder->setBuffer(from, 0, 1);
      encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    }
    encoder->endEncoding();
    commands->commit();
    commands->waitUntilCompleted();
    disorders += static_cast<float*>(c->contents())[0] == 0;
  }
  EXPECT(disorders > 2 && disorders < 18);
}

TEST("E10 two queues have no order between them") {
  Machine m;
  auto state = m.plain();
  auto other = NS::TransferPtr(m.device->newCommandQueue());
  int disorders = 0;
  for (int round = 0; round < 40; ++round) {
    auto a = m.buffer(), b = m.buffer(), c = m.buffer();
    static_cast<float*>(a->contents())[0] = 1;
    auto* first = start(m.queue.get(), state.get(), {b.get(), a.get()});
    auto* second = start(other.get(), state.get(), {c.get(), b.get()});
    first->waitUntilCompleted();
    second->waitUntilCompleted();
    disorders += value(c) == 0;
  }
  EXPECT(disorders > 3 && disorders < 37);
}

TEST("E11 an autoreleased object dies with its pool; without a pool it leaks, and is named") {
  Machine m;
  MTL::CommandBuffer* kept = nullptr;
  {
    Pool inner;
    kept = m.queue->commandBuffer();
  }
  kept->status();
  EXPECT(reported("sent to a deallocated object"));
  std::thread([&] { m.queue->commandBuffer(); }).join();
  EXPECT(reported("autoreleased with no pool in place"));
}

TEST("E11 releasing what is not ours is an over-release") {
  Machine m;
  {
    Pool inner;
    m.queue->commandBuffer()->release();
  }
  EXPECT(reported("over-release"));
}

TEST("E11 a message on a thread without a pool is reported") {
  Machine m;
  auto y = m.buffer();
  std::thread([&] { y->length(); }).join();
  EXPECT(reported("length] sent with no pool in place"));
}

TEST("E12 the 65th unfinished command buffer blocks") {
  Machine m;
  behaviour().in_flight_wait_ms = 20;
  for (int i = 0; i < 64; ++i) m.queue->commandBuffer();
  EXPECT(violations().empty());
  m.queue->commandBuffer();
  EXPECT(reported("commandBuffer blocks: 64"));
}

TEST("E15 an injected fault has Metal's code and text, and names the encoder") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto run = [&] {
    auto descriptor = make<MTL::CommandBufferDescriptor>();
    descriptor->setErrorOptions(MTL::CommandBufferErrorOptionEncoderExecutionStatus);
    auto* commands = m.queue->commandBuffer(descriptor.get());
    auto* encoder = commands->computeCommandEncoder();
    encoder->setLabel(ns("plain"));
    encoder->setComputePipelineState(state.get());
    encoder->setBuffer(y.get(), 0, 0);
    encoder->setBuffer(x.get(), 0, 1);
    encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
    encoder->endEncoding();
    commands->commit();
    commands->waitUntilCompleted();
    return commands;
  };
  behaviour().fail_next = 2;
  auto* failed = run();
  EXPECT(failed->status() == MTL::CommandBufferStatusError && failed->error()->code() == 2);
  EXPECT(attnproto::metal::describe(failed->error()).find("Caused GPU Timeout") == 0);
  EXPECT(failed->error()->userInfo()->count() == 1);
  EXPECT(run()->error()->code() == 4);
  m.queue = NS::TransferPtr(m.device->newCommandQueue());
  EXPECT(run()->status() == MTL::CommandBufferStatusCompleted);
}

TEST("E15 an event is not signalled by commands that failed") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer(), x = m.buffer();
  auto event = NS::TransferPtr(m.device->newSharedEvent());
  behaviour().fail_next = 3;
  start(m.queue.get(), state.get(), {y.get(), x.get()}, event.get())->waitUntilCompleted();
  EXPECT(event->signaledValue() == 0);
  start(m.queue.get(), state.get(), {y.get(), x.get()}, event.get())->waitUntilCompleted();
  EXPECT(event->signaledValue() == 1);
}

TEST("E16 reads out of bounds are 0, writes vanish and are reported") {
  Machine m;
  auto state = m.pipeline(m.function("optional").get());
  auto values = make<MTL::FunctionConstantValues>();
  auto function = NS::TransferPtr(m.library->newFunction(ns("optional"), values.get(), &m.error));
  state = m.pipeline(function.get());
  auto y = m.buffer(64);
  auto* commands = m.queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  commands->commit();
  commands->waitUntilCompleted();
  EXPECT(reported("Invalid device store"));
  EXPECT(static_cast<float*>(y->contents())[16] == 0);
  static_cast<float*>(y->contents())[0] = 5;
  auto beyond = m.pipeline(m.function("beyond").get());
  start(m.queue.get(), beyond.get(), {y.get()})->waitUntilCompleted();
  EXPECT(value(y) == 0);
}

TEST("E18 one buffer bound to two arguments is a warning") {
  Machine m;
  auto state = m.plain();
  auto y = m.buffer();
  auto* encoder = m.queue->commandBuffer()->computeCommandEncoder();
  encoder->setComputePipelineState(state.get());
  encoder->setBuffer(y.get(), 0, 0);
  encoder->setBuffer(y.get(), 0, 1);
  encoder->dispatchThreadgroups(MTL::Size(1, 1, 1), MTL::Size(1, 1, 1));
  encoder->endEncoding();
  EXPECT(contains(warnings(), "bound to two arguments of plain") && violations().empty());
}
