// Pipelines, linking, function tables and archives: rules E2, E5, E13, E14.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>

#include "metal_objects.h"

namespace metal_double {
namespace {

constexpr UInt kFailOnMiss = 4;
constexpr const char* kMagic = "metal double archive 1";

struct ArchiveDescriptor : Object {
  Ref<Url> url;
};
struct Archive : Object {
  std::set<std::string> keys;
};
struct TableDescriptor : Object {
  UInt count = 0;
};

template <class T>
T read(const char* bytes) {
  T value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

attnproto::Number as_number(const char* bytes, UInt element) {
  switch (element) {
    case 53:
      return *bytes != 0;
    case 3:
      return double(read<float>(bytes));
    case 16:
      return double(read<_Float16>(bytes));
    case 121: {
      const uint32_t bits = uint32_t(read<uint16_t>(bytes)) << 16;
      return double(read<float>(reinterpret_cast<const char*>(&bits)));
    }
    case 45:
      return int64_t(read<int8_t>(bytes));
    case 49:
      return int64_t(read<uint8_t>(bytes));
    case 37:
      return int64_t(read<int16_t>(bytes));
    case 41:
      return int64_t(read<uint16_t>(bytes));
    case 29:
      return int64_t(read<int32_t>(bytes));
    case 33:
      return int64_t(read<uint32_t>(bytes));
    case 81:
      return read<int64_t>(bytes);
    default:
      return read<uint64_t>(bytes);
  }
}

attnproto::Constant as_constant(unsigned index, const ConstantValue& value) {
  const ConstantType type = constant_type(value.type);
  if (type.width == 1) return {uint32_t(index), as_number(value.bytes.data(), type.element)};
  std::vector<attnproto::Number> elements;
  for (size_t i = 0; i < type.width; ++i)
    elements.push_back(as_number(value.bytes.data() + i * type.element_bytes, type.element));
  return {uint32_t(index), elements};
}

// The text of everything linked, each library once.
std::string linked_text(const PipelineDescriptor* descriptor) {
  std::vector<Library*> libraries{descriptor->function->library};
  auto add = [&](Library* library) {
    if (std::count(libraries.begin(), libraries.end(), library) == 0) libraries.push_back(library);
  };
  if (descriptor->linked && descriptor->linked->private_functions) {
    for (auto& item : descriptor->linked->private_functions->items) {
      Library* library = static_cast<Function*>(item.object)->library;
      for (auto& part : library->parts) add(part);
      add(library);
    }
  }
  // Alone it stays as it is: the cpu device's cache then has it, whoever compiled it.
  std::string source = libraries.front()->source;
  for (size_t i = 1; i < libraries.size(); ++i) source += "\n" + libraries[i]->source;
  return source;
}

std::vector<Function*> linked_functions(const PipelineDescriptor* descriptor) {
  std::vector<Function*> functions;
  if (!descriptor->linked) return functions;
  for (Array* list :
       {descriptor->linked->functions.object, descriptor->linked->private_functions.object})
    for (size_t i = 0; list && i < list->items.size(); ++i)
      functions.push_back(static_cast<Function*>(list->items[i].object));
  return functions;
}

// What is fixed in the kernel and in everything linked to it.
std::map<unsigned, ConstantValue> all_constants(const PipelineDescriptor* descriptor) {
  auto constants = descriptor->function->constants;
  for (Function* function : linked_functions(descriptor))
    constants.insert(function->constants.begin(), function->constants.end());
  return constants;
}

// Metal knows a binary by what the compiler's front end made of the text: comments are gone,
// and one space is as good as many.
std::string without_comments(const std::string& source) {
  std::string kept;
  for (size_t i = 0; i < source.size();) {
    size_t end = i + 1;
    bool blank = std::isspace(static_cast<unsigned char>(source[i]));
    if (source.compare(i, 2, "//") == 0) {
      end = std::min(source.find('\n', i), source.size());
      blank = true;
    } else if (source.compare(i, 2, "/*") == 0) {
      const size_t close = source.find("*/", i + 2);
      end = close == std::string::npos ? source.size() : close + 2;
      blank = true;
    }
    if (!blank) kept += source[i];
    if (blank && !kept.empty() && kept.back() != ' ') kept += ' ';
    i = end;
  }
  return kept;
}

std::string archive_key(const PipelineDescriptor* descriptor) {
  std::string key = descriptor->function->name + "\n" + without_comments(linked_text(descriptor));
  for (const auto& [index, value] : all_constants(descriptor))
    key += std::to_string(index) + "=" + value.bytes + "\n";
  char digest[20];
  snprintf(digest, sizeof digest, "%016zx", std::hash<std::string>()(key));
  return digest;
}

bool in_archive(const PipelineDescriptor* descriptor) {
  const std::string key = archive_key(descriptor);
  for (size_t i = 0; descriptor->archives && i < descriptor->archives->items.size(); ++i)
    if (static_cast<Archive*>(descriptor->archives->items[i].object)->keys.count(key)) return true;
  return false;
}

std::string problem_with(const PipelineDescriptor* descriptor, UInt options) {
  const Function* function = descriptor->function;
  if (!function->kernel) return function->name + " is not a kernel";
  if (function->unspecialised)
    return function->name +
           " cannot be used to build a pipeline state. Use newFunctionWithName:constantValues:... "
           "to get the specialized function";
  std::set<std::string> linked;
  for (const Function* one : linked_functions(descriptor)) linked.insert(one->symbol());
  for (const std::string& name : function->library->text->undefined_in(function->name))
    if (!linked.count(name)) return "Undefined symbol: " + name;
  if ((options & kFailOnMiss) && !in_archive(descriptor))
    return "no binary for " + function->name + " in the archives";
  return "";
}

bool add_functions(Archive* self, Sel, PipelineDescriptor* descriptor, Object** error) {
  if (!descriptor || !descriptor->function) {
    set_error(error, kArchiveDomain, 3, "no compute function");
    return false;
  }
  if (compiler_crashes(error)) return false;
  const std::string problem = problem_with(descriptor, 0);
  if (!problem.empty()) {
    set_error(error, kArchiveDomain, 3, problem);
    return false;
  }
  self->keys.insert(archive_key(descriptor));
  return true;
}

bool serialize(Archive* self, Sel, Url* url, Object** error) {
  if (!url) {
    violation("serializeToURL: url must not be nil");
    return false;
  }
  if (self->keys.empty()) {
    set_error(error, kArchiveDomain, 3, "Nothing to serialize");
    return false;
  }
  std::ofstream file(url->path);
  file << kMagic << "\n";
  for (const std::string& key : self->keys) file << key << "\n";
  if (file.flush()) return true;
  set_error(error, kArchiveDomain, 1, "Cannot write " + url->path);
  return false;
}

FunctionTable* new_table(Pipeline* self, Sel, TableDescriptor* descriptor) {
  if (!descriptor || descriptor->count == 0) {
    violation("newVisibleFunctionTableWithDescriptor: functionCount must not be 0");
    return nullptr;
  }
  FunctionTable* table = make<FunctionTable>();
  table->pipeline = self;
  table->names.resize(descriptor->count);
  return table;
}

void set_function(FunctionTable* self, Sel, FunctionHandle* handle, UInt index) {
  if (index >= self->names.size()) {
    violation("setFunction:atIndex: %zu beyond a table of %zu", size_t(index), self->names.size());
  } else if (handle && handle->pipeline != self->pipeline.object) {
    violation("setFunction:atIndex: handle of another pipeline state");
  } else {
    self->names[index] = handle ? handle->name : "";
  }
}

FunctionHandle* handle_of(Pipeline* self, Sel, Function* function) {
  if (!function || std::count(self->linked.begin(), self->linked.end(), function->name) == 0)
    return nullptr;
  FunctionHandle* handle = make<FunctionHandle>();
  handle->name = function->name;
  handle->pipeline = self;
  return pooled(handle);
}

}  // namespace

Pipeline* new_pipeline(PipelineDescriptor* descriptor, UInt options, Object** error) {
  if (!descriptor || !descriptor->function) {
    violation("newComputePipelineState: computeFunction must not be nil");
    return nullptr;
  }
  if (compiler_crashes(error)) return nullptr;
  const std::string problem = problem_with(descriptor, options);
  if (!problem.empty()) {
    set_error(error, kPipelineDomain, 3, problem);
    return nullptr;
  }
  attnproto::PipelineDescriptor wanted;
  wanted.function = descriptor->function->name;
  for (const auto& [index, value] : all_constants(descriptor))
    wanted.constants.push_back(as_constant(index, value));
  if (descriptor->linked && descriptor->linked->functions)
    for (auto& item : descriptor->linked->functions->items)
      wanted.linked_functions.push_back(static_cast<Function*>(item.object)->name);
  Pipeline* pipeline = make<Pipeline>();
  try {
    auto library = executor()->library(linked_text(descriptor));
    pipeline->executable = library->pipeline(wanted);
  } catch (const std::exception& refused) {
    release(pipeline);
    set_error(error, kPipelineDomain, 3, reason(refused));
    return nullptr;
  }
  const auto info = pipeline->executable->info();
  if (info.static_threadgroup_bytes > attnproto::kMaxThreadgroupBytes) {
    release(pipeline);
    set_error(error, kPipelineDomain, 3,
              "Threadgroup memory size (" + std::to_string(info.static_threadgroup_bytes) +
                  ") exceeds the maximum threadgroup memory allowed (32768)");
    return nullptr;
  }
  pipeline->name = wanted.function;
  pipeline->linked = wanted.linked_functions;
  pipeline->max_threads = std::min(info.max_threads, behaviour().max_threads);
  pipeline->static_threadgroup_bytes = info.static_threadgroup_bytes;
  return pipeline;
}

Object* new_archive(Url* url, Object** error) {
  if (behaviour().shader_validation) {
    set_error(error, kArchiveDomain, 4, "Binary archives are not supported with shader validation");
    return nullptr;
  }
  Archive* archive = make<Archive>();
  if (!url) return archive;
  std::ifstream file(url->path);
  std::string line;
  if (!std::getline(file, line) || line != kMagic) {
    release(archive);
    set_error(error, kArchiveDomain, 1, "Invalid file " + url->path);
    return nullptr;
  }
  while (std::getline(file, line)) archive->keys.insert(line);
  return archive;
}

Object* archive_from(Device*, Sel, Object* descriptor, Object** error) {
  return new_archive(static_cast<ArchiveDescriptor*>(descriptor)->url, error);
}

void register_pipelines() {
  Type<LinkedFunctions>("MTLLinkedFunctions", root_class())
      .property<&LinkedFunctions::functions>("functions", "setFunctions:")
      .property<&LinkedFunctions::private_functions>("privateFunctions", "setPrivateFunctions:");
  Type<PipelineDescriptor>("MTLComputePipelineDescriptor", root_class())
      .property<&PipelineDescriptor::function>("computeFunction", "setComputeFunction:")
      .property<&PipelineDescriptor::label>("label", "setLabel:")
      .property<&PipelineDescriptor::archives>("binaryArchives", "setBinaryArchives:")
      .property<&PipelineDescriptor::linked>("linkedFunctions", "setLinkedFunctions:");
  Type<Pipeline>("_MTLComputePipelineState", root_class())
      .property<&Pipeline::max_threads>("maxTotalThreadsPerThreadgroup")
      .property<&Pipeline::static_threadgroup_bytes>("staticThreadgroupMemoryLength")
      .method("threadExecutionWidth", [](Pipeline*, Sel) { return UInt(32); })
      .method("functionHandleWithFunction:", handle_of)
      .method(
          "functionHandleWithName:", [](Pipeline*, Sel, Object*) -> Object* { return nullptr; }, 26)
      .method(
          "reflection", [](Pipeline*, Sel) -> Object* { return nullptr; }, 26)
      .method("newVisibleFunctionTableWithDescriptor:", new_table);
  Type<FunctionHandle>("_MTLFunctionHandle", root_class());
  Type<TableDescriptor>("MTLVisibleFunctionTableDescriptor", root_class())
      .property<&TableDescriptor::count>("functionCount", "setFunctionCount:");
  Type<FunctionTable>("_MTLVisibleFunctionTable", root_class())
      .method("setFunction:atIndex:", set_function);
  Type<ArchiveDescriptor>("MTLBinaryArchiveDescriptor", root_class())
      .property<&ArchiveDescriptor::url>("url", "setUrl:");
  Type<Archive>("_MTLBinaryArchive", root_class())
      .method("addComputePipelineFunctionsWithDescriptor:error:", add_functions)
      .method("serializeToURL:error:", serialize);
}

}  // namespace metal_double
