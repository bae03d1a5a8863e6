// The texts, pipelines, function tables and archives of the cuda device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../device.h"
#include "../front_end.h"
#include "context.h"

namespace attnproto::cuda {

// Bytes that divide every buffer's address, unless an offset says otherwise: what the
// kernels' first choice of code relies on.
inline constexpr uint32_t kBufferAlignment = 16;

struct FrontEnds {
  std::shared_ptr<FrontEnd> aligned;  // for buffers at multiples of kBufferAlignment
  std::shared_ptr<FrontEnd> any;      // for buffers anywhere
};

class CudaPipeline final : public Pipeline {
 public:
  CudaPipeline(std::shared_ptr<Context> context, FrontEnds front_ends, std::string text,
               PipelineDescriptor descriptor);
  ~CudaPipeline() override;
  const PipelineInfo& info() const override { return info_; }
  const std::string& name() const { return descriptor_.function; }
  const KernelImage& image() const { return code_[0].image; }
  // What a launch of so many threadgroups, each of so many warps, takes. Some kernels have other
  // code where a multiprocessor has as many warps as may have all registers, and where it has more
  // (compiler/passes/limit_registers.py).
  Handle function(bool aligned, uint64_t threadgroups, uint32_t warps);
  std::shared_ptr<FunctionTable> function_table(const std::vector<std::string>& names) override;

 private:
  struct Code {
    KernelImage image;
    Handle module = nullptr, function = nullptr;
    Handle crowded[2] = {};  // for launches of as many warps and of more, where it is another
    uint64_t generation = 0;
  };
  const Code& loaded(bool aligned);
  void load(Code& code);
  void unload(Code& code);

  std::shared_ptr<Context> context_;
  FrontEnds front_ends_;
  std::string text_;
  PipelineDescriptor descriptor_;
  PipelineInfo info_;
  Code code_[2];  // for aligned buffers; for any, compiled when it is first wanted
};

// As the kernel reads it (attnproto/functions.h): how many, then their addresses.
class CudaTable final : public FunctionTable {
 public:
  CudaTable(std::shared_ptr<Context> context, const CudaPipeline* pipeline,
            const std::vector<uint64_t>& addresses);
  ~CudaTable() override;
  size_t size() const override { return size_; }
  const CudaPipeline* pipeline() const { return pipeline_; }
  // Throws DispatchError where a fault has destroyed it.
  DevicePointer address() const;

 private:
  std::shared_ptr<Context> context_;
  const CudaPipeline* pipeline_;
  size_t size_;
  DevicePointer words_;
  uint64_t generation_;
};

class CudaLibrary final : public Library {
 public:
  // `functions` are those of the text, unless it was put together for some of them.
  CudaLibrary(std::shared_ptr<Context> context, FrontEnds front_ends, std::string text,
              std::vector<std::string> functions = {});
  std::vector<std::string> functions() const override { return functions_; }
  std::string text() const override { return text_; }
  std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor& descriptor) override;
  std::shared_ptr<Library> stitch(const std::vector<StitchedFunction>& functions) override;

 private:
  std::shared_ptr<Context> context_;
  FrontEnds front_ends_;
  std::string text_;
  std::vector<std::string> functions_;
};

class CudaArchive final : public Archive {
 public:
  CudaArchive(std::shared_ptr<Context> context, std::shared_ptr<FrontEnd> front_end)
      : context_(std::move(context)), front_end_(std::move(front_end)) {}
  void add(Library& library, const PipelineDescriptor& descriptor) override;
  void save(const std::string& path) override;

 private:
  std::shared_ptr<Context> context_;
  std::shared_ptr<FrontEnd> front_end_;
  std::vector<std::string> texts_;
  std::vector<PipelineDescriptor> descriptors_;
};

// PTX as the machine code of the current context's GPU, by as many threads as there are
// processors. Throws KernelCompileError.
std::vector<std::string> assemble(const std::vector<std::string>& texts);

}  // namespace attnproto::cuda
