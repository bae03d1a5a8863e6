// What the parts of the Metal device know of each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "metal_device.h"
#include "objc.h"

namespace attnproto::metal {

// A queue lets 64 command buffers live and then blocks whoever asks for one
// more, for ever when that is the thread which must commit them: stay below.
class Gate {
 public:
  explicit Gate(int places) : places_(places) {}
  void enter();
  void leave();

 private:
  std::mutex mutex_;
  std::condition_variable freed_;
  int places_;
};

// Shared by everything made from one device, so that the last of them frees it.
struct Context {
  Owned<MTL::Device> device;
  // Two command buffers a place.
  Gate gate{32};
  // The encoder at fault costs time to know: it is asked for only after a failure.
  std::atomic<bool> explain_faults{false};

  ~Context() { give_back(archives_, queue_, device); }

  Owned<MTL::CommandQueue> queue();
  // After some faults Metal ignores whatever else the queue is given.
  void renew_queue();
  // Loaded once while the file stays the same.
  Owned<MTL::BinaryArchive> archive(const std::string& path);
  // It was written anew: a clock may be too coarse to show that.
  void forget_archive(const std::string& path);

 private:
  struct Loaded {
    uint64_t stamp = 0;
    Owned<MTL::BinaryArchive> archive;
  };
  std::mutex mutex_;
  Owned<MTL::CommandQueue> queue_;
  std::map<std::string, Loaded> archives_;
};

class MetalBuffer : public Buffer {
 public:
  MetalBuffer(std::shared_ptr<Context> context, Owned<MTL::Buffer> buffer, size_t bytes)
      : context_(std::move(context)), buffer_(std::move(buffer)), bytes_(bytes) {}
  ~MetalBuffer() override { give_back(buffer_); }
  size_t bytes() const override { return bytes_; }
  void* contents() override {
    Pool pool;
    return buffer_->contents();
  }
  MTL::Buffer* get() const { return buffer_.get(); }
  const Context* context() const { return context_.get(); }

 private:
  std::shared_ptr<Context> context_;
  Owned<MTL::Buffer> buffer_;
  size_t bytes_;
};

class MetalTable : public FunctionTable {
 public:
  MetalTable(const MTL::ComputePipelineState* state, Owned<MTL::VisibleFunctionTable> table,
             size_t size)
      : state_(state), table_(std::move(table)), size_(size) {}
  ~MetalTable() override { give_back(table_); }
  size_t size() const override { return size_; }
  MTL::VisibleFunctionTable* get() const { return table_.get(); }
  const MTL::ComputePipelineState* state() const { return state_; }

 private:
  const MTL::ComputePipelineState* state_;
  Owned<MTL::VisibleFunctionTable> table_;
  size_t size_;
};

// A function ready to be linked, with the name by which tables ask for it.
struct NamedFunction {
  std::string name;
  Owned<MTL::Function> function;
};

class MetalPipeline : public Pipeline {
 public:
  MetalPipeline(std::shared_ptr<Context> context, std::string kernel,
                Owned<MTL::ComputePipelineState> state, std::vector<NamedFunction> linked,
                PipelineInfo info)
      : context_(std::move(context)),
        kernel_(std::move(kernel)),
        state_(std::move(state)),
        linked_(std::move(linked)),
        info_(info) {}
  ~MetalPipeline() override { give_back(state_, linked_); }
  const PipelineInfo& info() const override { return info_; }
  std::shared_ptr<FunctionTable> function_table(const std::vector<std::string>& names) override;
  // The same pipeline, saying that this time no compiler ran.
  std::shared_ptr<MetalPipeline> cached_copy() const;
  MTL::ComputePipelineState* get() const { return state_.get(); }
  const Context* context() const { return context_.get(); }
  const std::string& kernel() const { return kernel_; }

 private:
  std::shared_ptr<Context> context_;
  std::string kernel_;
  Owned<MTL::ComputePipelineState> state_;
  std::vector<NamedFunction> linked_;
  PipelineInfo info_;
};

class MetalLibrary : public Library {
 public:
  MetalLibrary(std::shared_ptr<Context> context, Owned<MTL::Library> library, std::string msl_text)
      : context_(std::move(context)), library_(std::move(library)), text_(std::move(msl_text)) {}
  ~MetalLibrary() override { give_back(library_); }
  std::vector<std::string> functions() const override;
  std::string text() const override { return text_; }
  std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor& descriptor) override;
  std::shared_ptr<Library> stitch(const std::vector<StitchedFunction>& functions) override;

  // Metal's descriptor for ours; what it names must outlive its use.
  struct Prepared {
    Owned<MTL::ComputePipelineDescriptor> descriptor;
    std::vector<NamedFunction> linked;
  };
  Prepared prepare(const PipelineDescriptor& descriptor);
  // Metal leaves it undefined when a linked function has other types than its caller declares.
  void check_links(const PipelineDescriptor& descriptor) const;
  const Context* context() const { return context_.get(); }
  // Unlike its address, never given to another library.
  uint64_t id() const { return id_; }

 private:
  std::shared_ptr<MetalPipeline> compile(const PipelineDescriptor& descriptor);
  Owned<MTL::Function> specialise(const std::string& name, const std::vector<Constant>& constants,
                                  const std::string& texts);

  std::shared_ptr<Context> context_;
  Owned<MTL::Library> library_;
  std::string text_;
  const uint64_t id_ = ++last_id;
  static inline std::atomic<uint64_t> last_id{0};
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<MetalPipeline>> pipelines_;
};

// Function constants in Metal's form: checked against what the kernel declares, and
// against the texts in which a constant may stand that the kernel does not read.
Owned<MTL::FunctionConstantValues> constant_values(const std::string& kernel,
                                                   const std::string& msl_texts,
                                                   const NS::Dictionary* declared,
                                                   const std::vector<Constant>& constants);
// Equal for equal constants, whatever their order.
std::string constants_key(const std::vector<Constant>& constants);

std::shared_ptr<Archive> make_archive(std::shared_ptr<Context> context);

// Start and end of each dispatch by the GPU's own counters. Apple GPUs sample
// only at the ends of an encoder, so each dispatch gets an encoder of its own.
class Counters {
 public:
  Counters(Context& context, size_t dispatches);
  bool available() const { return bool(buffer_); }
  MTL::ComputePassDescriptor* pass(size_t dispatch) const;
  // Only after completion, into a timing of the whole; the reason where the samples cannot be
  // believed.
  void read(Timing& timing) const;

 private:
  Owned<MTL::CounterSampleBuffer> buffer_;
  size_t samples_;
};

// Names the kernel and Metal's code.
Fault command_error(MTL::CommandBuffer* commands, const std::string& kernels);

Timing submit(Context& context, const std::vector<Dispatch>& dispatches, const Rounds& rounds,
              const SubmitOptions& options);

}  // namespace attnproto::metal
