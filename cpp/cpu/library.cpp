#include "library.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "check.h"
#include "error.h"
#include "stitching.h"

namespace attnproto {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::KernelCompileError, why);
}

void check_linked(const PipelineDescriptor& descriptor) {
  for (const LinkedFunction& one : descriptor.private_functions)
    if (!dynamic_cast<CpuLibrary*>(one.library.get()))
      refuse("[cpu.link] found " + one.function +
             " in a library of another device, needs one of this device; compile its text here");
}

}  // namespace

CpuPipeline::CpuPipeline(std::shared_ptr<FrontEnd> front_end, std::string text,
                         PipelineDescriptor descriptor)
    : front_end_(std::move(front_end)), text_(std::move(text)), descriptor_(std::move(descriptor)) {
  // An archive holds only code that fits any binding.
  descriptor_.distinct_buffers = descriptor_.archive.empty();
  image_ = front_end_->compile(text_, descriptor_);
  info_.static_threadgroup_bytes = image_.static_threadgroup_bytes;
  info_.max_threads = image_.max_threads;
  info_.compile_us = image_.compile_us;
  info_.function_us = image_.function_us;
  info_.cached = image_.cached;
  info_.engine = image_.engine;
  info_.engine_reason = image_.engine_reason;
  info_.elements = elements_of(image_.arguments);
  check_pipeline(info_, name());
}

std::shared_ptr<const KernelImage> CpuPipeline::image_for_overlap() {
  auto image = std::atomic_load(&image_for_overlap_);
  if (!image) {
    PipelineDescriptor any = descriptor_;
    any.distinct_buffers = false;
    image = std::make_shared<const KernelImage>(front_end_->compile(text_, any));
    std::atomic_store(&image_for_overlap_, image);
  }
  return image;
}

std::shared_ptr<FunctionTable> CpuPipeline::function_table(const std::vector<std::string>& names) {
  if (names.empty())
    refuse("[cpu.table] found no table of 0 functions, needs at least one; name them");
  std::vector<uint64_t> addresses;
  for (const std::string& name : names) {
    const auto& linked = image_.function_addresses;
    auto found = std::find_if(linked.begin(), linked.end(),
                              [&](const auto& one) { return one.first == name; });
    if (found == linked.end())
      refuse("[cpu.table] found " + name + " which is not linked to " + this->name() +
             ", needs a linked function; add it to linked");
    addresses.push_back(found->second);
  }
  return std::make_shared<CpuTable>(identity(), addresses);
}

CpuTable::CpuTable(uint64_t pipeline, const std::vector<uint64_t>& addresses)
    : pipeline_(pipeline), words_{addresses.size()} {
  words_.insert(words_.end(), addresses.begin(), addresses.end());
}

CpuLibrary::CpuLibrary(std::shared_ptr<FrontEnd> front_end, std::string text)
    : front_end_(std::move(front_end)),
      text_(std::move(text)),
      functions_(front_end_->functions(text_)) {}

CpuLibrary::CpuLibrary(std::shared_ptr<FrontEnd> front_end, std::string text,
                       std::vector<std::string> functions)
    : front_end_(std::move(front_end)), text_(std::move(text)), functions_(std::move(functions)) {
  front_end_->functions(text_);
}

std::shared_ptr<Pipeline> CpuLibrary::pipeline(const PipelineDescriptor& descriptor) {
  check_linked(descriptor);
  return std::make_shared<CpuPipeline>(front_end_, text_, descriptor);
}

std::shared_ptr<Library> CpuLibrary::stitch(const std::vector<StitchedFunction>& functions) {
  std::vector<std::string> names;
  for (const StitchedFunction& function : functions) names.push_back(function.name);
  return std::make_shared<CpuLibrary>(front_end_, text_ + stitched_source(text_, functions), names);
}

void CpuArchive::add(Library& library, const PipelineDescriptor& descriptor) {
  auto* ours = dynamic_cast<CpuLibrary*>(&library);
  if (!ours)
    refuse(
        "[cpu.archive] found a library of another device, needs one of this device; compile its "
        "text here");
  check_linked(descriptor);
  front_end_->compile(ours->text(), descriptor);
  texts_.push_back(ours->text());
  descriptors_.push_back(descriptor);
}

void CpuArchive::save(const std::string& path) {
  front_end_->save_archive(texts_, descriptors_, path);
}

}  // namespace attnproto
