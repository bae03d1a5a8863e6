// The objects of Metal that several parts of the double know.
#pragma once

#include <exception>
#include <map>
#include <memory>
#include <mutex>

#include "msl_scan.h"
#include "runtime.h"

namespace metal_double {

inline constexpr const char* kLibraryDomain = "MTLLibraryErrorDomain";
inline constexpr const char* kArchiveDomain = "MTLBinaryArchiveDomain";
inline constexpr const char* kPipelineDomain = "AGXMetalG16X";

// What the executor says, without the traceback when it says it from Python.
std::string reason(const std::exception& refused);

struct Device : Object {
  Ref<String> name;
  std::atomic<uint64_t> allocated{0};
};
Device* the_device();

struct Range {
  UInt location, length;
};

struct ConstantValue {
  UInt type = 0;
  std::string bytes;
};
// The types of vectors of two, three and four follow that of their elements.
struct ConstantType {
  UInt element = 0;
  size_t width = 1, element_bytes = 4;
};
ConstantType constant_type(UInt type);
struct ConstantValues : Object {
  std::map<unsigned, ConstantValue> by_index;
  std::map<std::string, ConstantValue> by_name;
};

// A library keeps its text: linking is concatenation, done by the device that runs the kernels.
struct Library : Object {
  std::string source;
  std::shared_ptr<MslText> text;
  std::vector<std::string> kernels;
  bool stitched = false;
  std::vector<Ref<Library>> parts;  // what a stitched library is made of
};

struct Function : Object {
  std::string name;
  Ref<Library> library;
  bool kernel = false;
  bool unspecialised = false;  // has constants and was made without values
  std::map<unsigned, ConstantValue> constants;
  std::string specialised_name;
  // What linked code calls it by.
  const std::string& symbol() const { return specialised_name.empty() ? name : specialised_name; }
};

struct LinkedFunctions : Object {
  Ref<Array> functions, private_functions;
};
struct PipelineDescriptor : Object {
  Ref<Function> function;
  Ref<String> label;
  Ref<Array> archives;
  Ref<LinkedFunctions> linked;
};

struct Pipeline : Object {
  std::string name;
  std::shared_ptr<attnproto::Pipeline> executable;
  std::vector<std::string> linked;
  UInt max_threads = 1024, static_threadgroup_bytes = 0;
};
struct FunctionHandle : Object {
  std::string name;
  const Pipeline* pipeline = nullptr;
};
struct FunctionTable : Object {
  Ref<Pipeline> pipeline;
  std::vector<std::string> names;
};

// Device memory between two guards of zeroes: what an M4 does with an access
// out of bounds (reads are 0, writes vanish), and a report of the writes.
struct Buffer : Object {
  std::vector<char> storage;
  char* contents = nullptr;
  size_t bytes = 0;
  bool guarded = false;
  std::atomic<int> in_flight{0};
  ~Buffer();
  bool guards_intact();
};

struct SampleBuffer : Object {
  std::vector<uint64_t> samples;
};
struct SampleAttachment : Object {
  Ref<SampleBuffer> buffer;
  UInt start = ~UInt(0), end = ~UInt(0);
};
struct SampleAttachments : Object {
  Ref<SampleAttachment> attachments[4];
};
struct PassDescriptor : Object {
  Ref<SampleAttachments> samples;
  UInt order = 0;
};

// True, and an error, when this compilation was told to lose its compiler.
bool compiler_crashes(Object** error);
Library* compile(const std::string& source, Object** error);
Library* stitch(Array* graphs, Array* functions, Object** error);
Pipeline* new_pipeline(PipelineDescriptor* descriptor, UInt options, Object** error);
Object* new_archive(Url* url, Object** error);
Object* new_queue();

}  // namespace metal_double
