// Archives, stitched functions and function tables of the Metal device, on the double.
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "lab.h"

using namespace attnproto;

namespace {

StitchedCall call(std::string function, std::vector<StitchedCall::Argument> arguments) {
  return {std::move(function), std::move(arguments)};
}
constexpr StitchedCall::Argument input(uint32_t index) {
  return {StitchedCall::From::Input, index};
}
constexpr StitchedCall::Argument result(uint32_t index) {
  return {StitchedCall::From::Call, index};
}

}  // namespace

TEST("a stitched function is linked into a kernel that only declares it") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  EXPECT(
      refused(kCompile, {"Undefined symbol: modify"}, [&] { lab.library->pipeline(descriptor); }));
  auto stitched =
      lab.library->stitch({{"modify", {call("twice", {input(0)}), call("twice", {result(0)})}}});
  EXPECT(stitched->functions() == std::vector<std::string>{"modify"});
  descriptor.private_functions = {{stitched, "modify"}};
  auto y = lab.buffer({3});
  lab.device->submit({run(lab.library->pipeline(descriptor), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == 12);
}

TEST("an archive serves what it holds in a new device, and fails on what it does not") {
  const std::string path = temporary("archive");
  PipelineDescriptor scaled;
  scaled.function = "scaled";
  scaled.constants = {{uint32_t(3), int64_t(5)}, {uint32_t(4), false}};
  {
    Lab lab;
    auto archive = lab.device->new_archive();
    EXPECT(refused(kCompile, {"not writable"}, [&] { archive->save(path); }));
    archive->add(*lab.library, scaled);
    archive->save(path);
    EXPECT(refused(kCompile, {"not writable"}, [&] { archive->save("/nonexistent/folder/a"); }));
  }
  Lab lab;
  scaled.archive = path;
  scaled.fail_on_archive_miss = true;
  EXPECT(lab.library->pipeline(scaled));
  PipelineDescriptor other = scaled;
  other.constants[0].value = int64_t(6);
  EXPECT(refused(kCompile, {"no binary for scaled"}, [&] { lab.library->pipeline(other); }));
  other.fail_on_archive_miss = false;
  EXPECT(lab.library->pipeline(other));
  auto replaced = lab.device->new_archive();
  replaced->add(*lab.library, other);
  const auto written = std::filesystem::last_write_time(path);
  replaced->save(path);
  // As on a clock too coarse to tell the two apart.
  std::filesystem::last_write_time(path, written);
  other.fail_on_archive_miss = true;
  EXPECT(lab.library->pipeline(other));
  // Replaced by another process.
  scaled.constants[0].value = int64_t(7);
  EXPECT(refused(kCompile, {"no binary for scaled"}, [&] { lab.library->pipeline(scaled); }));
  auto elsewhere = lab.device->new_archive();
  elsewhere->add(*lab.library, scaled);
  elsewhere->save(path + "3");
  std::filesystem::rename(path + "3", path);
  std::filesystem::last_write_time(path, written + std::chrono::seconds(5));
  EXPECT(lab.library->pipeline(scaled));
  other.fail_on_archive_miss = false;
  std::remove(path.c_str());
  std::ofstream(path + "2") << "not an archive";
  other.archive = path + "2";
  EXPECT(refused(kCompile, {"unreadable", "delete it"}, [&] { lab.library->pipeline(other); }));
  std::ofstream(path + "2") << "metal double archive 1\n";
  EXPECT(lab.library->pipeline(other));
  std::remove(other.archive.c_str());
}

TEST("no archive under shader validation") {
  Lab lab;
  setenv("MTL_SHADER_VALIDATION", "1", 1);
  EXPECT(refused(kCompile, {"unset MTL_SHADER_VALIDATION"}, [&] { lab.device->new_archive(); }));
  PipelineDescriptor stored{"axpy", {}, {}, "/nonexistent", false, {}};
  EXPECT(
      refused(kCompile, {"unset MTL_SHADER_VALIDATION"}, [&] { lab.library->pipeline(stored); }));
  setenv("MTL_SHADER_VALIDATION", "0", 1);
  EXPECT(lab.device->new_archive());
  unsetenv("MTL_SHADER_VALIDATION");
}

TEST("a linked function reads a constant that only its own text has") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  descriptor.private_functions = {{lab.device->library(kLinked), "modify"}};
  EXPECT(refused(kCompile, {"GAIN", "no value"}, [&] { lab.library->pipeline(descriptor); }));
  descriptor.constants = {{std::string("GAIN"), 8.0}};
  auto y = lab.buffer({3});
  lab.device->submit({run(lab.library->pipeline(descriptor), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == 24);
  descriptor.constants.push_back({std::string("NOBODY"), 8.0});
  EXPECT(refused(kCompile, {"NOBODY"}, [&] { lab.library->pipeline(descriptor); }));
}

TEST("a linked function of other types than its caller declares is refused") {
  Lab lab;
  auto linked = lab.device->library("[[visible]] float modify(float x, int y) { return x; }\n");
  PipelineDescriptor descriptor;
  descriptor.function = "modified";
  descriptor.private_functions = {{linked, "modify"}};
  const std::vector<std::string> words = {"float(float, int)", "float(float)", "modified"};
  EXPECT(refused(kCompile, words, [&] { lab.library->pipeline(descriptor); }));
  EXPECT(
      refused(kCompile, words, [&] { lab.device->new_archive()->add(*lab.library, descriptor); }));
}

TEST("a stitching graph that Metal leaves undefined is refused") {
  Lab lab;
  auto stitch = [&](std::vector<StitchedCall> calls) {
    lab.library->stitch({{"g", std::move(calls)}});
  };
  EXPECT(refused(kCompile, {"int as argument 0 of twice", "float"},
                 [&] { stitch({call("whole", {input(0)}), call("twice", {result(0)})}); }));
  EXPECT(
      refused(kCompile, {"no visible function axpy"}, [&] { stitch({call("axpy", {input(0)})}); }));
  EXPECT(refused(kCompile, {"later call"}, [&] { stitch({call("twice", {result(0)})}); }));
  EXPECT(refused(kCompile, {"1 arguments for add"}, [&] { stitch({call("add", {input(0)})}); }));
  EXPECT(refused(kCompile, {"no calls"}, [&] { stitch({}); }));
  EXPECT(refused(kCompile, {"no use of input 0"}, [&] { stitch({call("twice", {input(1)})}); }));
}

TEST("visible functions are called through a table made from their pipeline") {
  Lab lab;
  PipelineDescriptor descriptor;
  descriptor.function = "through_table";
  descriptor.linked_functions = {"halve", "twice"};
  auto pipeline = lab.library->pipeline(descriptor);
  auto table = pipeline->function_table({"halve", "halve", "twice"});
  EXPECT(table->size() == 3);
  auto y = lab.buffer({8});
  Dispatch dispatch = run(pipeline, {{0, DeviceMemory{y, 0}}});
  dispatch.function_tables = {{1, table}};
  lab.device->submit({dispatch});
  EXPECT(first(y) == 2);
  EXPECT(
      refused(kCompile, {"add which is not linked"}, [&] { pipeline->function_table({"add"}); }));
  EXPECT(refused(kCompile, {"at least one"}, [&] { pipeline->function_table({}); }));
  dispatch.pipeline = lab.pipeline("heavy");
  EXPECT(refused(kDispatch, {"another pipeline"}, [&] { lab.device->submit({dispatch}); }));
  dispatch.pipeline = pipeline;
  dispatch.function_tables[0].index = 0;
  EXPECT(refused(kDispatch, {"distinct indices"}, [&] { lab.device->submit({dispatch}); }));
}
