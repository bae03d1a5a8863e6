#include "library.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>

#include "../check.h"
#include "../error.h"
#include "../stitching.h"

namespace attnproto::cuda {
namespace {

// CUfunction_attribute, CUjit_option and CUjitInputType
constexpr int kMaxThreadsPerBlock = 0;
constexpr int kErrorLogBuffer = 5, kErrorLogBytes = 6;
constexpr int kPtx = 1;
// The addresses of a module's linked functions, in their order (compiler/targets/nvptx.py).
constexpr const char* kTableSymbol = "attn_table";
// Behind a kernel's name: its code for launches that give a multiprocessor as many warps of 255
// registers a thread as there is room for, and for those that give it more
// (passes/limit_registers.py).
constexpr const char* kCrowded[] = {"_full", "_over"};
constexpr uint64_t kWarpsOfAllRegisters = 8;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::KernelCompileError, why);
}

void check_linked(const PipelineDescriptor& descriptor) {
  for (const LinkedFunction& one : descriptor.private_functions)
    if (!dynamic_cast<CudaLibrary*>(one.library.get()))
      refuse("[cuda.link] found " + one.function +
             " in a library of another device, needs one of this device; compile its text here");
}

// The options that make the driver explain what it refuses.
struct ErrorLog {
  std::vector<char> text = std::vector<char>(8192);
  int options[2] = {kErrorLogBuffer, kErrorLogBytes};
  void* values[2] = {text.data(), reinterpret_cast<void*>(text.size())};
};

std::string assemble_one(const std::string& ptx) {
  const Driver& d = driver();
  ErrorLog log;
  Handle state = nullptr;
  void* cubin = nullptr;
  size_t bytes = 0;
  Result result = d.LinkCreate(2, log.options, log.values, &state);
  if (result == kSuccess)
    result = d.LinkAddData(state, kPtx, const_cast<char*>(ptx.c_str()), ptx.size() + 1, "kernel", 0,
                           nullptr, nullptr);
  if (result == kSuccess) result = d.LinkComplete(state, &cubin, &bytes);
  std::string code = result == kSuccess ? std::string(static_cast<char*>(cubin), bytes) : "";
  if (state) d.LinkDestroy(state);
  if (result != kSuccess)
    refuse("[cuda.archive] the driver refused PTX: " + describe(result) + " " + log.text.data());
  return code;
}

}  // namespace

std::vector<std::string> assemble(const std::vector<std::string>& texts) {
  Handle context = nullptr;
  driver().CtxGetCurrent(&context);
  std::vector<std::string> codes(texts.size());
  std::vector<std::exception_ptr> errors(texts.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    driver().CtxSetCurrent(context);
    for (size_t i = next++; i < texts.size(); i = next++) try {
        codes[i] = assemble_one(texts[i]);
      } catch (...) {
        errors[i] = std::current_exception();
      }
  };
  std::vector<std::thread> threads;
  const size_t most = std::min<size_t>(std::thread::hardware_concurrency(), texts.size());
  try {
    while (threads.size() + 1 < most) threads.emplace_back(work);
  } catch (const std::system_error&) {
    // Fewer threads than processors: the system has no more.
  }
  work();
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return codes;
}

CudaPipeline::CudaPipeline(std::shared_ptr<Context> context, FrontEnds front_ends, std::string text,
                           PipelineDescriptor descriptor)
    : context_(std::move(context)),
      front_ends_(std::move(front_ends)),
      text_(std::move(text)),
      descriptor_(std::move(descriptor)) {
  code_[0].image = front_ends_.aligned->compile(text_, descriptor_);
  auto begin = std::chrono::steady_clock::now();
  int most = 0;
  driver().FuncGetAttribute(&most, kMaxThreadsPerBlock, loaded(true).function);
  auto spent = std::chrono::steady_clock::now() - begin;
  info_.static_threadgroup_bytes = image().static_threadgroup_bytes;
  info_.max_threads = std::min<uint32_t>(image().max_threads, uint32_t(most));
  info_.compile_us = image().compile_us + std::chrono::duration<double, std::micro>(spent).count();
  info_.function_us = image().function_us;
  info_.cached = image().cached;
  info_.elements = elements_of(image().arguments);
  check_pipeline(info_, name());
}

CudaPipeline::~CudaPipeline() {
  for (Code& code : code_) unload(code);
}

void CudaPipeline::unload(Code& code) {
  if (!code.module || code.generation != context_->generation()) return;
  context_->make_current();
  driver().ModuleUnload(code.module);
}

Handle CudaPipeline::function(bool aligned, uint64_t threadgroups, uint32_t warps) {
  const Code& code = loaded(aligned);
  const uint64_t many = context_->multiprocessors();
  const uint64_t most = (threadgroups + many - 1) / many * warps;
  if (most < kWarpsOfAllRegisters) return code.function;
  const Handle crowded = code.crowded[most > kWarpsOfAllRegisters];
  return crowded ? crowded : code.function;
}

const CudaPipeline::Code& CudaPipeline::loaded(bool aligned) {
  Code& code = code_[aligned ? 0 : 1];
  if (code.module && code.generation == context_->generation()) return code;
  if (!aligned && code.image.code.empty())
    code.image = front_ends_.any->compile(text_, descriptor_);
  load(code);
  return code;
}

void CudaPipeline::load(Code& code) {
  context_->make_current();
  ErrorLog log;
  Result result =
      driver().ModuleLoadDataEx(&code.module, code.image.code.c_str(), 2, log.options, log.values);
  if (result != kSuccess)
    refuse("[cuda " + name() + "] the driver refused PTX: " + describe(result) + " " +
           log.text.data());
  code.generation = context_->generation();
  std::string symbol = "attn_launch_" + std::to_string(code.image.entry_address);
  context_->check(driver().ModuleGetFunction(&code.function, code.module, symbol.c_str()), name());
  for (size_t i = 0; i < std::size(kCrowded); ++i)
    if (driver().ModuleGetFunction(&code.crowded[i], code.module, (symbol + kCrowded[i]).c_str()) !=
        kSuccess)
      code.crowded[i] = nullptr;  // most kernels have none
}

std::shared_ptr<FunctionTable> CudaPipeline::function_table(const std::vector<std::string>& names) {
  if (names.empty())
    refuse("[cuda.table] found no table of 0 functions, needs at least one; name them");
  loaded(true);
  const auto& linked = image().function_addresses;
  std::vector<uint64_t> all(linked.size()), addresses;
  if (!linked.empty()) {
    DevicePointer symbol = 0;
    size_t bytes = 0;
    context_->check(driver().ModuleGetGlobal(&symbol, &bytes, code_[0].module, kTableSymbol),
                    "table");
    context_->check(driver().MemcpyDtoH(all.data(), symbol, all.size() * sizeof(uint64_t)),
                    "table");
  }
  for (const std::string& wanted : names) {
    auto found = std::find_if(linked.begin(), linked.end(),
                              [&](const auto& one) { return one.first == wanted; });
    if (found == linked.end())
      refuse("[cuda.table] found " + wanted + " which is not linked to " + name() +
             ", needs a linked function; add it to linked");
    addresses.push_back(all[found->second]);
  }
  return std::make_shared<CudaTable>(context_, this, addresses);
}

CudaTable::CudaTable(std::shared_ptr<Context> context, const CudaPipeline* pipeline,
                     const std::vector<uint64_t>& addresses)
    : context_(std::move(context)), pipeline_(pipeline), size_(addresses.size()) {
  std::vector<uint64_t> words{size_};
  words.insert(words.end(), addresses.begin(), addresses.end());
  words_ = context_->allocate(words.size() * sizeof(uint64_t), "table");
  generation_ = context_->generation();
  context_->check(driver().MemcpyHtoD(words_, words.data(), words.size() * sizeof(uint64_t)),
                  "table");
}

CudaTable::~CudaTable() { context_->release(words_, (size_ + 1) * sizeof(uint64_t), generation_); }

DevicePointer CudaTable::address() const {
  if (generation_ != context_->generation())
    throw Error(ErrorKind::DispatchError,
                "[cuda.table] found a function table that a fault destroyed, needs a new one; make "
                "it again with pipeline.function_table(...)");
  return words_;
}

CudaLibrary::CudaLibrary(std::shared_ptr<Context> context, FrontEnds front_ends, std::string text,
                         std::vector<std::string> functions)
    : context_(std::move(context)),
      front_ends_(std::move(front_ends)),
      text_(std::move(text)),
      functions_(front_ends_.aligned->functions(text_)) {
  if (!functions.empty()) functions_ = std::move(functions);
}

std::shared_ptr<Pipeline> CudaLibrary::pipeline(const PipelineDescriptor& descriptor) {
  check_linked(descriptor);
  return std::make_shared<CudaPipeline>(context_, front_ends_, text_, descriptor);
}

std::shared_ptr<Library> CudaLibrary::stitch(const std::vector<StitchedFunction>& functions) {
  std::vector<std::string> names;
  for (const StitchedFunction& function : functions) names.push_back(function.name);
  return std::make_shared<CudaLibrary>(context_, front_ends_,
                                       text_ + stitched_source(text_, functions), names);
}

void CudaArchive::add(Library& library, const PipelineDescriptor& descriptor) {
  auto* ours = dynamic_cast<CudaLibrary*>(&library);
  if (!ours)
    refuse(
        "[cuda.archive] found a library of another device, needs one of this device; compile its "
        "text here");
  check_linked(descriptor);
  front_end_->compile(ours->text(), descriptor);
  texts_.push_back(ours->text());
  descriptors_.push_back(descriptor);
}

void CudaArchive::save(const std::string& path) {
  context_->make_current();
  front_end_->save_archive(texts_, descriptors_, path);
}

}  // namespace attnproto::cuda
