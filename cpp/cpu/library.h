// The texts, pipelines, function tables and archives of the cpu device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "front_end.h"

namespace attnproto {

class CpuPipeline final : public Pipeline {
 public:
  CpuPipeline(std::shared_ptr<FrontEnd> front_end, std::string text, PipelineDescriptor descriptor);
  const PipelineInfo& info() const override { return info_; }
  const std::string& name() const { return descriptor_.function; }
  const KernelImage& image() const { return image_; }
  // The same kernel for buffers that overlap; compiled when it is first wanted.
  std::shared_ptr<const KernelImage> image_for_overlap();
  // The machine code: pipelines that share it share their tables.
  uint64_t identity() const { return image_.entry_address; }
  std::shared_ptr<FunctionTable> function_table(const std::vector<std::string>& names) override;

 private:
  std::shared_ptr<FrontEnd> front_end_;
  std::string text_;
  PipelineDescriptor descriptor_;
  KernelImage image_;
  // Without a lock, which a child of this process might find held for ever.
  std::shared_ptr<const KernelImage> image_for_overlap_;
  PipelineInfo info_;
};

// As the kernel reads it (attnproto/functions.h): how many, then their addresses.
class CpuTable final : public FunctionTable {
 public:
  CpuTable(uint64_t pipeline, const std::vector<uint64_t>& addresses);
  size_t size() const override { return words_.size() - 1; }
  uint64_t pipeline() const { return pipeline_; }
  const uint64_t* addresses() const { return words_.data(); }

 private:
  uint64_t pipeline_;
  std::vector<uint64_t> words_;
};

class CpuLibrary final : public Library {
 public:
  CpuLibrary(std::shared_ptr<FrontEnd> front_end, std::string text);
  CpuLibrary(std::shared_ptr<FrontEnd> front_end, std::string text,
             std::vector<std::string> functions);
  std::vector<std::string> functions() const override { return functions_; }
  std::string text() const override { return text_; }
  std::shared_ptr<Pipeline> pipeline(const PipelineDescriptor& descriptor) override;
  std::shared_ptr<Library> stitch(const std::vector<StitchedFunction>& functions) override;

 private:
  std::shared_ptr<FrontEnd> front_end_;
  std::string text_;
  std::vector<std::string> functions_;
};

class CpuArchive final : public Archive {
 public:
  explicit CpuArchive(std::shared_ptr<FrontEnd> front_end) : front_end_(std::move(front_end)) {}
  void add(Library& library, const PipelineDescriptor& descriptor) override;
  void save(const std::string& path) override;

 private:
  std::shared_ptr<FrontEnd> front_end_;
  std::vector<std::string> texts_;
  std::vector<PipelineDescriptor> descriptors_;
};

}  // namespace attnproto
