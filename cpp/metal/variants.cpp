// The ways to vary a kernel that need no source text: tables of visible
// functions, stitched functions, and archives of compiled pipelines.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "internal.h"
#include "stitching.h"

namespace attnproto::metal {

std::shared_ptr<MetalPipeline> MetalPipeline::cached_copy() const {
  PipelineInfo info = info_;
  info.cached = true;
  info.compile_us = 0;
  info.function_us = 0;
  return std::make_shared<MetalPipeline>(context_, kernel_, state_, linked_, info);
}

std::shared_ptr<FunctionTable> MetalPipeline::function_table(
    const std::vector<std::string>& names) {
  Pool pool;
  auto descriptor = make<MTL::VisibleFunctionTableDescriptor>();
  descriptor->setFunctionCount(names.size());
  auto table = names.empty() ? Owned<MTL::VisibleFunctionTable>()
                             : NS::TransferPtr(state_->newVisibleFunctionTable(descriptor.get()));
  if (!table)
    throw Error(ErrorKind::KernelCompileError, "[metal.table] found no table of " +
                                                   std::to_string(names.size()) +
                                                   " functions, needs at least one; name them");
  for (size_t i = 0; i < names.size(); ++i) {
    auto linked = std::find_if(linked_.begin(), linked_.end(),
                               [&](const NamedFunction& one) { return one.name == names[i]; });
    MTL::FunctionHandle* handle =
        linked == linked_.end() ? nullptr : state_->functionHandle(linked->function.get());
    if (!handle)
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.table] found " + names[i] + " which is not linked to " + kernel_ +
                      ", needs a linked function; add it to linked_functions");
    table->setFunction(handle, i);
  }
  return std::make_shared<MetalTable>(state_.get(), std::move(table), names.size());
}

std::shared_ptr<Library> MetalLibrary::stitch(const std::vector<StitchedFunction>& functions) {
  Pool pool;
  // Metal leaves a type mismatch between nodes undefined: it is refused here.
  const std::string declared = check_stitching(text_, functions);
  std::vector<Owned<MTL::Function>> used;
  std::vector<std::string> used_names;
  std::vector<Owned<MTL::FunctionStitchingGraph>> graphs;
  for (const StitchedFunction& wanted : functions) {
    std::map<uint32_t, Owned<MTL::FunctionStitchingInputNode>> inputs;
    std::vector<Owned<MTL::FunctionStitchingFunctionNode>> nodes;
    for (const StitchedCall& call : wanted.calls) {
      if (std::find(used_names.begin(), used_names.end(), call.function) == used_names.end()) {
        used_names.push_back(call.function);
        used.push_back(specialise(call.function, {}, text_));
      }
      std::vector<NS::Object*> arguments;
      for (const StitchedCall::Argument& argument : call.arguments) {
        if (argument.from == StitchedCall::From::Call) {
          arguments.push_back(nodes[argument.index].get());
          continue;
        }
        auto& input = inputs[argument.index];
        if (!input)
          input = NS::TransferPtr(
              MTL::FunctionStitchingInputNode::alloc()->init(NS::UInteger(argument.index)));
        arguments.push_back(input.get());
      }
      nodes.push_back(NS::TransferPtr(MTL::FunctionStitchingFunctionNode::alloc()->init(
          ns(call.function), array(arguments), NS::Array::array())));
    }
    std::vector<Owned<MTL::FunctionStitchingAttributeAlwaysInline>> attributes;
    if (wanted.always_inline)
      attributes.push_back(make<MTL::FunctionStitchingAttributeAlwaysInline>());
    // Function nodes only, the output among them: an input node here trips the debug layer.
    graphs.push_back(NS::TransferPtr(MTL::FunctionStitchingGraph::alloc()->init(
        ns(wanted.name), array(nodes), nodes.back().get(), array(attributes))));
  }
  auto descriptor = make<MTL::StitchedLibraryDescriptor>();
  descriptor->setFunctions(array(used));
  descriptor->setFunctionGraphs(array(graphs));
  NS::Error* error = nullptr;
  auto library = compiled(error, [&](NS::Error** why) {
    return caught("metal.stitch",
                  [&] { return context_->device->newLibrary(descriptor.get(), why); });
  });
  if (!library)
    throw Error(ErrorKind::KernelCompileError,
                "[metal.stitch] found a graph Metal refuses, needs functions that fit together; " +
                    describe(error));
  return std::make_shared<MetalLibrary>(context_, std::move(library), declared);
}

namespace {

// Changes with the file: its time and size.
uint64_t stamp(const std::string& path) {
  std::error_code missing;
  const auto time = std::filesystem::last_write_time(path, missing);
  if (missing) return 0;
  return uint64_t(time.time_since_epoch().count()) * 31 + std::filesystem::file_size(path, missing);
}

void refuse_validation() {
  const char* validation = std::getenv("MTL_SHADER_VALIDATION");
  if (validation && *validation && std::string(validation) != "0")
    throw Error(ErrorKind::KernelCompileError,
                "[metal.archive] found shader validation switched on, needs it off: Metal stores "
                "no validated pipelines; unset MTL_SHADER_VALIDATION");
}

class MetalArchive : public Archive {
 public:
  ~MetalArchive() override { give_back(archive_); }
  explicit MetalArchive(std::shared_ptr<Context> context) : context_(std::move(context)) {
    Pool pool;
    refuse_validation();
    NS::Error* error = nullptr;
    auto descriptor = make<MTL::BinaryArchiveDescriptor>();
    archive_ = NS::TransferPtr(context_->device->newBinaryArchive(descriptor.get(), &error));
    if (!archive_)
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.archive] found no archive, needs one; " + describe(error));
  }

  void add(Library& library, const PipelineDescriptor& wanted) override {
    Pool pool;
    auto* ours = dynamic_cast<MetalLibrary*>(&library);
    if (!ours || ours->context() != context_.get())
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.archive] found a library of another device, needs one of this device; "
                  "compile its text here");
    ours->check_links(wanted);
    auto prepared = caught("metal.archive", [&] { return ours->prepare(wanted); });
    NS::Error* error = nullptr;
    auto add = [&] {
      error = nullptr;
      return caught("metal.archive", [&] {
        return archive_->addComputePipelineFunctions(prepared.descriptor.get(), &error);
      });
    };
    if (!add() && !(lost_compiler(error) && add()))
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.archive] found " + wanted.function +
                      " refused, needs a pipeline Metal can build; " + describe(error));
  }

  void save(const std::string& path) override {
    Pool pool;
    // A reader must never meet half an archive.
    const std::string partial = path + ".partial";
    NS::Error* error = nullptr;
    const bool written = archive_->serializeToURL(file_url(partial), &error);
    if (!written || std::rename(partial.c_str(), path.c_str()) != 0) {
      std::remove(partial.c_str());
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.archive] found " + path +
                      " not writable, needs a folder that exists and "
                      "at least one pipeline added; " +
                      describe(error));
    }
    context_->forget_archive(path);
  }

 private:
  std::shared_ptr<Context> context_;
  Owned<MTL::BinaryArchive> archive_;
};

}  // namespace

Owned<MTL::BinaryArchive> Context::archive(const std::string& path) {
  refuse_validation();
  const uint64_t now = stamp(path);
  std::lock_guard<std::mutex> lock(mutex_);
  Loaded& loaded = archives_[path];
  if (loaded.archive && loaded.stamp == now) return loaded.archive;
  auto descriptor = make<MTL::BinaryArchiveDescriptor>();
  descriptor->setUrl(file_url(path));
  NS::Error* error = nullptr;
  loaded.archive = NS::TransferPtr(device->newBinaryArchive(descriptor.get(), &error));
  loaded.stamp = now;
  if (!loaded.archive)
    throw Error(ErrorKind::KernelCompileError,
                "[metal.archive] found " + path +
                    " unreadable, needs an archive written by this "
                    "macOS on this GPU; delete it and build it again: " +
                    describe(error));
  return loaded.archive;
}

void Context::forget_archive(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  archives_.erase(path);
}

std::shared_ptr<Archive> make_archive(std::shared_ptr<Context> context) {
  return std::make_shared<MetalArchive>(std::move(context));
}

}  // namespace attnproto::metal
