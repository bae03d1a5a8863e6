// Kernels of one text, and the pipelines made from them.
#include <chrono>

#include "internal.h"
#include "sha256.h"
#include "stitching.h"

namespace attnproto::metal {
namespace {

std::string pipeline_key(const PipelineDescriptor& descriptor) {
  std::string key = descriptor.function + "\n" + constants_key(descriptor.constants);
  for (const std::string& name : descriptor.linked_functions) key += "linked " + name + "\n";
  for (const LinkedFunction& one : descriptor.private_functions) {
    auto* library = dynamic_cast<const MetalLibrary*>(one.library.get());
    key += "private " + std::to_string(library ? library->id() : 0) + " " + one.function + "\n";
  }
  key += "archive " + descriptor.archive;
  return key + (descriptor.fail_on_archive_miss ? " or fail" : "");
}

}  // namespace

std::vector<std::string> MetalLibrary::functions() const {
  Pool pool;
  std::vector<std::string> names;
  NS::Array* found = library_->functionNames();
  for (NS::UInteger i = 0; i < found->count(); ++i)
    names.push_back(metal::text(found->object<NS::String>(i)));
  return names;
}

std::shared_ptr<Pipeline> MetalLibrary::pipeline(const PipelineDescriptor& descriptor) {
  const std::string key = pipeline_key(descriptor);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (auto found = pipelines_.find(key); found != pipelines_.end()) {
      return found->second->cached_copy();
    }
  }
  auto made = caught("metal.pipeline", [&] { return compile(descriptor); });
  std::lock_guard<std::mutex> lock(mutex_);
  return pipelines_.emplace(key, std::move(made)).first->second;
}

Owned<MTL::Function> MetalLibrary::specialise(const std::string& name,
                                              const std::vector<Constant>& constants,
                                              const std::string& texts) {
  // Without constants Metal hands out a function that is good for reflection,
  // and refuses it only later, when the pipeline is made.
  auto function = NS::TransferPtr(library_->newFunction(ns(name)));
  if (!function)
    throw Error(ErrorKind::KernelCompileError, "[metal.function] found no function " + name +
                                                   " in the library, needs one of its functions; "
                                                   "check the name or the host_name");
  NS::Dictionary* declared = function->functionConstantsDictionary();
  auto values = constant_values(name, texts, declared, constants);
  if (declared->count() == 0) return function;
  auto descriptor = make<MTL::FunctionDescriptor>();
  descriptor->setName(ns(name));
  descriptor->setConstantValues(values.get());
  // Two specialisations of one kernel may meet in one archive: they need names of their own.
  // A visible function is called by its name and keeps it.
  if (!constants.empty() && function->functionType() == MTL::FunctionTypeKernel)
    descriptor->setSpecializedName(ns(name + "_" + sha256(constants_key(constants)).substr(0, 16)));
  NS::Error* error = nullptr;
  auto special = compiled(
      error, [&](NS::Error** why) { return library_->newFunction(descriptor.get(), why); });
  if (!special)
    throw Error(ErrorKind::KernelCompileError,
                "[metal.function] found constants that do not complete " + name +
                    ", needs a value for each required one; " + describe(error));
  return special;
}

void MetalLibrary::check_links(const PipelineDescriptor& wanted) const {
  if (wanted.private_functions.empty()) return;
  const auto declared = visible_signatures(text_);
  for (const LinkedFunction& one : wanted.private_functions) {
    auto* library = dynamic_cast<MetalLibrary*>(one.library.get());
    if (!library || library->context() != context())
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.link] found " + one.function +
                      " in a library of another device, needs one of this device; compile its "
                      "text here");
    const auto defined = visible_signatures(library->text_);
    const auto wants = declared.find(one.function), has = defined.find(one.function);
    if (wants != declared.end() && has != defined.end() &&
        spell(wants->second) != spell(has->second))
      throw Error(ErrorKind::KernelCompileError,
                  "[metal.link] found " + one.function + " as " + spell(has->second) + ", needs " +
                      spell(wants->second) + " as " + wanted.function +
                      "'s text declares it; change one of them");
  }
}

MetalLibrary::Prepared MetalLibrary::prepare(const PipelineDescriptor& wanted) {
  Prepared prepared;
  std::string texts = text_;
  for (const LinkedFunction& one : wanted.private_functions) texts += one.library->text();
  auto kernel = specialise(wanted.function, wanted.constants, texts);
  if (kernel->functionType() != MTL::FunctionTypeKernel)
    throw Error(ErrorKind::KernelCompileError, "[metal.function] found " + wanted.function +
                                                   " which is no kernel, needs a kernel; link "
                                                   "visible functions to one instead");
  prepared.descriptor = make<MTL::ComputePipelineDescriptor>();
  prepared.descriptor->setLabel(ns(wanted.function));
  prepared.descriptor->setComputeFunction(kernel.get());

  std::vector<MTL::Function*> in_tables;
  for (const std::string& name : wanted.linked_functions) {
    prepared.linked.push_back({name, specialise(name, wanted.constants, texts)});
    in_tables.push_back(prepared.linked.back().function.get());
  }
  std::vector<Owned<MTL::Function>> held;
  std::vector<MTL::Function*> inlined;
  for (const LinkedFunction& one : wanted.private_functions) {
    auto& library = static_cast<MetalLibrary&>(*one.library);
    held.push_back(library.specialise(one.function, wanted.constants, texts));
    inlined.push_back(held.back().get());
  }
  if (!in_tables.empty() || !inlined.empty()) {
    auto linked = make<MTL::LinkedFunctions>();
    if (!in_tables.empty()) linked->setFunctions(array(in_tables));
    if (!inlined.empty()) linked->setPrivateFunctions(array(inlined));
    prepared.descriptor->setLinkedFunctions(linked.get());
  }
  return prepared;
}

std::shared_ptr<MetalPipeline> MetalLibrary::compile(const PipelineDescriptor& wanted) {
  Pool pool;
  check_links(wanted);
  const auto start = std::chrono::steady_clock::now();
  auto since_start = [&] {
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
        .count();
  };
  Prepared prepared = prepare(wanted);
  const double function_us = since_start();
  MTL::PipelineOption options = MTL::PipelineOptionNone;
  Owned<MTL::BinaryArchive> archive;
  if (!wanted.archive.empty()) {
    archive = context_->archive(wanted.archive);
    prepared.descriptor->setBinaryArchives(array(std::vector{archive.get()}));
    if (wanted.fail_on_archive_miss) options = MTL::PipelineOptionFailOnBinaryArchiveMiss;
  }
  NS::Error* error = nullptr;
  auto state = compiled(error, [&](NS::Error** why) {
    return context_->device->newComputePipelineState(prepared.descriptor.get(), options, nullptr,
                                                     why);
  });
  if (!state)
    throw Error(ErrorKind::KernelCompileError,
                "[metal.pipeline] found no pipeline for " + wanted.function +
                    ", needs one Metal can build; " + describe(error));
  PipelineInfo info;
  info.static_threadgroup_bytes = uint32_t(state->staticThreadgroupMemoryLength());
  info.max_threads = uint32_t(state->maxTotalThreadsPerThreadgroup());
  info.simd_width = uint32_t(state->threadExecutionWidth());
  info.compile_us = since_start();
  info.function_us = function_us;
  return std::make_shared<MetalPipeline>(context_, wanted.function, std::move(state),
                                         std::move(prepared.linked), info);
}

}  // namespace attnproto::metal
