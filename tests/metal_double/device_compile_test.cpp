// Texts, options and constants of the Metal device, on the double.
#include <fstream>

#include "lab.h"

using namespace attnproto;

TEST("constants are given by index or name, in the type the text declares") {
  Lab lab;
  auto y = lab.buffer({1});
  auto pipeline =
      lab.pipeline("scaled", {{uint32_t(3), int64_t(5)}, {std::string("NEGATE"), true}});
  lab.device->submit({run(pipeline, {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == -5);
  auto other = lab.pipeline("scaled", {{uint32_t(3), int64_t(7)}, {std::string("NEGATE"), false}});
  lab.device->submit({run(other, {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == -35);
}

TEST("constants that do not fit are refused before Metal could misread them") {
  Lab lab;
  const Constant negate{std::string("NEGATE"), true};
  auto with = [&](Constant scale) { lab.pipeline("scaled", {scale, negate}); };
  EXPECT(refused(kCompile, {"3=-1"}, [&] { with({uint32_t(3), int64_t(-1)}); }));
  EXPECT(refused(kCompile, {"3=4294967296"}, [&] { with({uint32_t(3), int64_t(1) << 32}); }));
  EXPECT(refused(kCompile, {"an integer"}, [&] { with({uint32_t(3), 0.5}); }));
  EXPECT(
      refused(kCompile, {"88=1", "function constant"}, [&] { with({uint32_t(88), int64_t(1)}); }));
  EXPECT(refused(kCompile, {"NOBODY"}, [&] { with({std::string("NOBODY"), int64_t(1)}); }));
  EXPECT(refused(kCompile, {"SCALE", "no value"}, [&] { lab.pipeline("scaled", {negate}); }));
  EXPECT(refused(kCompile, {"true or false"}, [&] {
    lab.pipeline("scaled", {{uint32_t(3), int64_t(1)}, {uint32_t(4), int64_t(2)}});
  }));
  EXPECT(lab.pipeline("axpy", {{uint32_t(9), 0.5}}));
  EXPECT(refused(kCompile, {"one value for each"}, [&] {
    lab.pipeline("scaled", {{uint32_t(3), int64_t(1)}, {std::string("SCALE"), int64_t(2)}, negate});
  }));
  with({uint32_t(3), int64_t(5)});
  EXPECT(refused(kCompile, {"3=5.0", "an integer"}, [&] { with({uint32_t(3), 5.0}); }));
}

TEST("a vector's elements reach the kernel in the type that the text declares") {
  Lab lab;
  auto y = lab.buffer({0, 0, 0, 0, 0});
  const std::vector<Number> offset{1.5, int64_t(2), -0.25}, step{int64_t(1), int64_t(-7)},
      mask{false, false, false, true}, weight{0.0, 1.01171875},
      large{int64_t(0), int64_t(0), int64_t(0), (uint64_t(1) << 63) + 3};
  auto with = [&](Constant change) {
    std::vector<Constant> constants{{uint32_t(10), offset},
                                    {std::string("STEP"), step},
                                    {uint32_t(12), mask},
                                    {uint32_t(13), weight},
                                    {uint32_t(14), large}};
    for (Constant& one : constants)
      if (one.key == change.key) one = change;
    return lab.pipeline("vectors", constants);
  };
  lab.device->submit({run(with({uint32_t(12), mask}), {{0, DeviceMemory{y, 0}}})});
  const auto* read = static_cast<const float*>(y->contents());
  const float expected[] = {-0.25f, -7, 1, 1.015625f, 3};  // bfloat rounds to even
  for (int i = 0; i < 5; ++i) EXPECT(read[i] == expected[i]);
  EXPECT(refused(kCompile, {"10=1.5", "3 elements"}, [&] { with({uint32_t(10), 1.5}); }));
  EXPECT(refused(kCompile, {"10=[1, -7]", "3 elements"}, [&] { with({uint32_t(10), step}); }));
  EXPECT(refused(kCompile, {"12=[1.5, 2, -0.25]"}, [&] { with({uint32_t(12), offset}); }));
  EXPECT(refused(kCompile, {"3=[1, -7]", "one value"},
                 [&] { lab.pipeline("scaled", {{uint32_t(3), step}, {uint32_t(4), true}}); }));
}

TEST("pipelines are cached by constants, libraries by text and options") {
  Lab lab;
  EXPECT(!lab.pipeline("axpy")->info().cached && lab.pipeline("axpy")->info().cached);
  auto scaled = [&](int64_t value) {
    return lab.pipeline("scaled", {{uint32_t(3), value}, {uint32_t(4), true}})->info();
  };
  EXPECT(!scaled(1).cached && !scaled(2).cached && scaled(1).cached);
  EXPECT(scaled(2).compile_us == 0 && lab.pipeline("heavy")->info().compile_us > 0);
  EXPECT(lab.device->library(kText) == lab.library);
  EXPECT(lab.device->library_with(kText, {true, {}}) != lab.library);
  EXPECT(lab.device->library_with(kText, {false, {{"A", "1"}}}) !=
         lab.device->library_with(kText, {false, {{"A", "2"}}}));
}

TEST("compile errors carry Metal's text; warnings are no errors; a lost compiler is asked again") {
  Lab lab;
  EXPECT(refused(kCompile,
                 {"[metal.compile]", "program_source:1:2: error", "MTLLibraryErrorDomain 3"},
                 [&] { lab.device->library("#error boom\n"); }));
  EXPECT(refused(kCompile, {"zero byte"}, [&] { lab.device->library(std::string("a\0b", 3)); }));
  behaviour().warn_on_compile = true;
  EXPECT(lab.device->library("kernel void w() {}"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.device->library("kernel void v() {}"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.pipeline("axpy"));
  behaviour().compiler_crashes = 1;
  EXPECT(lab.library->stitch({{"g", {{"twice", {{StitchedCall::From::Input, 0}}}}}}));
  behaviour().compiler_crashes = 1;
  lab.device->new_archive()->add(*lab.library, {"axpy", {}, {}, "", false, {}});
  behaviour().compiler_crashes = 2;
  EXPECT(refused(kCompile, {"XPC_ERROR_CONNECTION_INTERRUPTED"}, [&] { lab.pipeline("heavy"); }));
  EXPECT(refused(kCompile, {"nobody"}, [&] { lab.pipeline("nobody"); }));
  EXPECT(refused(kCompile, {"no kernel"}, [&] { lab.pipeline("twice"); }));
}

TEST("macros reach the text") {
  Lab lab;
  lab.library = lab.device->library_with(kText, {false, {{"MACRO", "7"}}});
  auto y = lab.buffer({0});
  lab.device->submit({run(lab.pipeline("alone"), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == 101);
}

TEST("safe and fast math are chosen whole on macOS 14 and on newer ones") {
  for (int macos : {14, 15, 26}) {
    behaviour().macos = macos;
    Lab lab;
    EXPECT(metal_double::last_math() == "safe, precise");
    lab.device->library_with(kText, {true, {}});
    EXPECT(metal_double::last_math() == "fast, fast");
  }
}

TEST("on macOS 14 no newer selector is called") {
  behaviour().macos = 14;
  Lab lab;
  EXPECT(lab.device->library_with(kText, {true, {}}));
  auto x = lab.buffer({1}), y = lab.buffer({0});
  lab.device->submit_with({axpy_of(lab, x, y, 1)}, {true, true});
  EXPECT(lab.device->properties().size() > 8);
}

TEST("a metallib is loaded by its path, and one that is none is refused with Metal's words") {
  Lab lab;
  const auto path = std::filesystem::temp_directory_path() / "attnproto_double.metallib";
  std::ofstream(path) << "MTLB" << kText;
  auto library = lab.device->compiled_library(path.string());
  EXPECT(library->functions() == lab.library->functions());
  PipelineDescriptor descriptor;
  descriptor.function = "scaled";
  descriptor.constants = {{uint32_t(3), int64_t(5)}, {std::string("NEGATE"), true}};
  auto y = lab.buffer({1});
  lab.device->submit({run(library->pipeline(descriptor), {{0, DeviceMemory{y, 0}}})});
  EXPECT(first(y) == -5);
  std::ofstream(path) << "no library";
  EXPECT(refused(kCompile, {"[metal.metallib]", "Invalid library file"},
                 [&] { lab.device->compiled_library(path.string()); }));
  std::filesystem::remove(path);
}
