// Libraries, functions, function constants and stitching: rules E1, E2, E3, E13, E17.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "metal_objects.h"

namespace metal_double {
namespace {

constexpr char kCompiled[] = "MTLB";
constexpr UInt kSafeMode = 0, kFastMode = 2, kFastFunctions = 0, kPreciseFunctions = 1;

struct CompileOptions : Object {
  UInt language = 0;
  Ref<Dictionary> macros;
  UInt math_mode = kFastMode, math_functions = kFastFunctions;
};
struct ConstantObject : Object {
  Ref<String> name;
  UInt index = 0, type = 0;
  bool required = true;
};
struct FunctionDescriptor : Object {
  Ref<String> name, specialised_name;
  Ref<ConstantValues> values;
};
struct InputNode : Object {
  UInt index = 0;
};
struct CallNode : Object {
  std::string function;
  Ref<Array> arguments;
};
struct AlwaysInline : Object {};
struct Graph : Object {
  std::string name;
  Ref<Array> nodes, attributes;
  Ref<CallNode> output;
};
struct StitchedDescriptor : Object {
  Ref<Array> graphs, functions;
};

constexpr UInt kLanguage3_1 = (3 << 16) + 1;

const std::map<std::string, UInt> kTypes = {
    {"bool", 53},    {"char", 45},     {"int8_t", 45},   {"uchar", 49},    {"uint8_t", 49},
    {"short", 37},   {"int16_t", 37},  {"ushort", 41},   {"uint16_t", 41}, {"int", 29},
    {"int32_t", 29}, {"uint", 33},     {"uint32_t", 33}, {"long", 81},     {"int64_t", 81},
    {"ulong", 85},   {"uint64_t", 85}, {"half", 16},     {"float", 3},     {"bfloat", 121}};

// A vector's type is its element's and a number.
UInt type_of(const FunctionConstant& constant) {
  if (auto found = kTypes.find(constant.type); found != kTypes.end()) return found->second;
  const std::string element = constant.type.substr(0, constant.type.size() - 1);
  auto found = kTypes.find(element);
  const UInt width = constant.type.empty() ? 0 : UInt(constant.type.back() - '0');
  return found == kTypes.end() || width < 2 || width > 4 ? 0 : found->second + width - 1;
}

// Metal reads as many bytes as the type has, and three elements as four.
void set_constant(ConstantValue& slot, const void* value, UInt type) {
  const ConstantType known = constant_type(type);
  const size_t elements = known.width == 3 ? 4 : known.width;
  slot = {type, std::string(static_cast<const char*>(value), elements * known.element_bytes)};
}

bool has(const Library* library, const std::string& name) {
  auto visible = library->text->visible().find(name);
  return std::count(library->kernels.begin(), library->kernels.end(), name) > 0 ||
         (visible != library->text->visible().end() && visible->second.defined);
}

Function* bare_function(Library* library, const std::string& name) {
  if (!has(library, name)) return nullptr;
  Function* function = make<Function>();
  function->name = name;
  function->library = library;
  function->kernel = std::count(library->kernels.begin(), library->kernels.end(), name) > 0;
  return function;
}

// Index before name; values that match nothing are ignored; a required one that is missing is an
// error.
Function* specialise(Library* library, const std::string& name, ConstantValues* values,
                     Object** error) {
  Function* function = bare_function(library, name);
  if (!function) {
    set_error(error, kLibraryDomain, 5, "Function " + name + " was not found in the library");
    return nullptr;
  }
  for (const auto& [index, constant] : library->text->constants_of(name)) {
    const ConstantValue* value = nullptr;
    if (auto found = values->by_index.find(index); found != values->by_index.end()) {
      value = &found->second;
    } else if (auto named = values->by_name.find(constant.name); named != values->by_name.end()) {
      value = &named->second;
    }
    std::string problem;
    if (!value && constant.required)
      problem =
          "function constant " + constant.name + " (" + std::to_string(index) + ") has no value";
    if (value && type_of(constant) != 0 && value->type != type_of(constant))
      problem = "function constant " + constant.name + " is " + constant.type +
                " and was given another type";
    if (!problem.empty()) {
      release(function);
      set_error(error, kLibraryDomain, 3, "Compilation failed: \n\n" + problem);
      return nullptr;
    }
    if (value) function->constants[index] = *value;
  }
  return function;
}

Dictionary* constants_dictionary(Function* function) {
  Dictionary* dictionary = make<Dictionary>();
  for (const auto& [index, constant] : function->library->text->constants_of(function->name)) {
    ConstantObject* object = pooled(make<ConstantObject>());
    object->name = string(constant.name);
    object->index = index;
    object->type = type_of(constant);
    object->required = constant.required;
    dictionary->items.push_back({object->name.object, object});
  }
  return pooled(dictionary);
}

void register_functions() {
  Type<ConstantValues>("MTLFunctionConstantValues", root_class())
      .method("setConstantValue:type:atIndex:",
              [](ConstantValues* self, Sel, const void* value, UInt type, UInt index) {
                set_constant(self->by_index[unsigned(index)], value, type);
              })
      .method("setConstantValue:type:withName:",
              [](ConstantValues* self, Sel, const void* value, UInt type, Object* name) {
                set_constant(self->by_name[text(name)], value, type);
              });
  Type<ConstantObject>("MTLFunctionConstant", root_class())
      .property<&ConstantObject::name>("name")
      .property<&ConstantObject::index>("index")
      .property<&ConstantObject::type>("type")
      .property<&ConstantObject::required>("required");
  Type<FunctionDescriptor>("MTLFunctionDescriptor", root_class())
      .property<&FunctionDescriptor::name>("name", "setName:")
      .property<&FunctionDescriptor::specialised_name>("specializedName", "setSpecializedName:")
      .property<&FunctionDescriptor::values>("constantValues", "setConstantValues:");
  Type<Function>("_MTLFunction", root_class())
      .method("name", [](Function* self, Sel) { return string(self->symbol()); })
      .method("functionType", [](Function* self, Sel) { return UInt(self->kernel ? 3 : 5); })
      .method("functionConstantsDictionary",
              [](Function* self, Sel) { return constants_dictionary(self); });
}

Function* from_descriptor(Library* self, Sel, FunctionDescriptor* descriptor, Object** error) {
  if (!descriptor || !descriptor->name) {
    violation("newFunctionWithDescriptor: descriptor and name must not be nil");
    return nullptr;
  }
  const std::string name = text(descriptor->name.object);
  if (!descriptor->values) return bare_function(self, name);
  Function* function = specialise(self, name, descriptor->values, error);
  if (function && descriptor->specialised_name)
    function->specialised_name = text(descriptor->specialised_name.object);
  return function;
}

void register_library() {
  Type<CompileOptions>("MTLCompileOptions", root_class())
      .property<&CompileOptions::language>("languageVersion", "setLanguageVersion:")
      .property<&CompileOptions::macros>("preprocessorMacros", "setPreprocessorMacros:")
      .method("setFastMathEnabled:",
              [](CompileOptions* self, Sel, bool fast) {
                self->math_mode = fast ? kFastMode : kSafeMode;
                self->math_functions = fast ? kFastFunctions : kPreciseFunctions;
              })
      .property<&CompileOptions::math_mode>("mathMode", "setMathMode:", 15)
      .property<&CompileOptions::math_functions>("mathFloatingPointFunctions",
                                                 "setMathFloatingPointFunctions:", 15);
  Type<Library>("_MTLLibrary", root_class())
      .method("functionNames",
              [](Library* self, Sel) {
                Array* names = make<Array>();
                for (const std::string& kernel : self->kernels)
                  names->items.push_back(string(kernel));
                for (const auto& [name, function] : self->text->visible())
                  if (function.defined) names->items.push_back(string(name));
                return pooled(names);
              })
      .method("newFunctionWithName:",
              [](Library* self, Sel, Object* name) -> Function* {
                Function* function = bare_function(self, text(name));
                if (function)
                  function->unspecialised = !self->text->constants_of(function->name).empty();
                return function;
              })
      .method("newFunctionWithName:constantValues:error:",
              [](Library* self, Sel, Object* name, ConstantValues* values,
                 Object** error) -> Function* {
                if (values) return specialise(self, text(name), values, error);
                violation("newFunctionWithName:constantValues: constantValues must not be nil");
                return nullptr;
              })
      .method("newFunctionWithDescriptor:error:", from_descriptor);
}

void register_stitching() {
  Type<InputNode>("MTLFunctionStitchingInputNode", root_class())
      .method("initWithArgumentIndex:", [](InputNode* self, Sel, UInt index) {
        self->index = index;
        return self;
      });
  Type<CallNode>("MTLFunctionStitchingFunctionNode", root_class())
      .method("initWithName:arguments:controlDependencies:",
              [](CallNode* self, Sel, Object* name, Array* arguments, Array*) {
                self->function = text(name);
                self->arguments = arguments;
                return self;
              });
  Type<AlwaysInline>("MTLFunctionStitchingAttributeAlwaysInline", root_class());
  Type<Graph>("MTLFunctionStitchingGraph", root_class())
      .method(
          "initWithFunctionName:nodes:outputNode:attributes:",
          [](Graph* self, Sel, Object* name, Array* nodes, CallNode* output, Array* attributes) {
            self->name = text(name);
            self->nodes = nodes;
            self->output = output;
            self->attributes = attributes;
            return self;
          });
  Type<StitchedDescriptor>("MTLStitchedLibraryDescriptor", root_class())
      .property<&StitchedDescriptor::graphs>("functionGraphs", "setFunctionGraphs:")
      .property<&StitchedDescriptor::functions>("functions", "setFunctions:");
}

// Writes the graph's function as text, and checks every node on the way.
struct Writer {
  std::map<std::string, Function*> functions;
  std::map<UInt, std::string> inputs;
  std::string problem;

  std::string type_of_result(const CallNode* node) {
    return functions.at(node->function)->library->text->visible().at(node->function).result;
  }

  std::string call(CallNode* node) {
    auto function = functions.find(node->function);
    if (function == functions.end()) {
      problem = "function " + node->function + " is not among the descriptor's functions";
      return "";
    }
    const auto& signature = function->second->library->text->visible().at(node->function);
    if (signature.parameters.size() != node->arguments->items.size()) {
      problem = "wrong number of arguments for " + node->function;
      return "";
    }
    std::string code = node->function + "(";
    for (size_t i = 0; i < node->arguments->items.size() && problem.empty(); ++i) {
      Object* argument = node->arguments->items[i];
      std::string type;
      if (argument->isa == Type<InputNode>::known) {
        const UInt index = static_cast<InputNode*>(argument)->index;
        type = inputs.emplace(index, signature.parameters[i]).first->second;
        code += (i ? ", a" : "a") + std::to_string(index);
      } else {
        auto* inner = static_cast<CallNode*>(argument);
        code += (i ? ", " : "") + call(inner);
        if (problem.empty()) type = type_of_result(inner);
      }
      if (problem.empty() && type != signature.parameters[i])
        violation("stitching: %s passed as %s to %s is undefined behaviour", type.c_str(),
                  signature.parameters[i].c_str(), node->function.c_str());
    }
    return code + ")";
  }
};

}  // namespace

ConstantType constant_type(UInt type) {
  for (const auto& [name, element] : kTypes) {
    if (type < element || type > element + 3) continue;
    const bool wide = element == 81 || element == 85, small = element >= 45;
    const bool two = element == 16 || element == 37 || element == 41 || element == 121;
    return {element, type - element + 1, wide ? 8u : two ? 2u : small ? 1u : 4u};
  }
  return {type};
}

bool compiler_crashes(Object** error) {
  if (behaviour().compiler_crashes == 0) return false;
  --behaviour().compiler_crashes;
  set_error(error, kLibraryDomain, 2, "Compiler failed with XPC_ERROR_CONNECTION_INTERRUPTED");
  return true;
}

Library* compile(const std::string& source, Object** error) {
  if (compiler_crashes(error)) return nullptr;
  if (!executor()) {
    violation("the double was given no device to run kernels on");
    return nullptr;
  }
  Library* library = make<Library>();
  library->source = source;
  library->text = std::make_shared<MslText>(source);
  // A text of visible functions alone is compiled when it is linked to a kernel.
  if (source.find("kernel") != std::string::npos || library->text->visible().empty()) {
    try {
      for (const std::string& name : executor()->library(source)->functions())
        if (!library->text->visible().count(name)) library->kernels.push_back(name);
    } catch (const std::exception& refused) {
      release(library);
      set_error(error, kLibraryDomain, 3, "Compilation failed: \n\n" + reason(refused));
      return nullptr;
    }
  }
  if (behaviour().warn_on_compile)
    set_error(error, kLibraryDomain, 4, "program_source:1:1: warning: unused variable");
  return library;
}

Library* stitch(Array* graphs, Array* functions, Object** error) {
  if (!graphs || !functions || graphs->items.empty()) {
    violation("newLibraryWithStitchedDescriptor: graphs and functions must not be empty");
    return nullptr;
  }
  if (compiler_crashes(error)) return nullptr;
  Library* library = make<Library>();
  Writer writer;
  for (auto& item : functions->items) {
    auto* function = static_cast<Function*>(item.object);
    auto visible = function->library->text->visible().find(function->name);
    if (visible == function->library->text->visible().end() || !visible->second.stitchable)
      writer.problem = function->name + " is not stitchable";
    writer.functions[function->name] = function;
    library->parts.push_back(function->library);
  }
  for (auto& item : graphs->items) {
    auto* graph = static_cast<Graph*>(item.object);
    for (auto& node : graph->nodes->items)
      if (node->isa != Type<CallNode>::known)
        violation("MTLFunctionStitchingGraph nodes must be function nodes");
    if (!graph->output && writer.problem.empty()) writer.problem = "graph without output node";
    writer.inputs.clear();
    const std::string body = writer.problem.empty() ? writer.call(graph->output) : "";
    if (!writer.problem.empty()) break;
    std::string parameters;
    for (const auto& [index, type] : writer.inputs)
      parameters += (parameters.empty() ? "" : ", ") + type + " a" + std::to_string(index);
    library->source += "[[visible]] " + writer.type_of_result(graph->output) + " " + graph->name +
                       "(" + parameters + ") { return " + body + "; }\n";
  }
  if (!writer.problem.empty()) {
    release(library);
    set_error(error, kLibraryDomain, 3, "Stitching failed: " + writer.problem);
    return nullptr;
  }
  library->stitched = true;
  library->text = std::make_shared<MslText>(library->source);
  return library;
}

void register_libraries() {
  register_functions();
  register_library();
  register_stitching();
}

namespace {

void check_language(const CompileOptions* options) {
  if (!options || options->language != kLanguage3_1)
    violation("newLibraryWithSource: languageVersion is not set to 3.1, the default differs by OS");
}

void check_math(const CompileOptions* options) {
  const bool fast = !options || options->math_mode == kFastMode;
  const bool fast_functions = !options || options->math_functions == kFastFunctions;
  note_math(std::string(fast ? "fast" : "safe") + (fast_functions ? ", fast" : ", precise"));
  if (!fast && fast_functions)
    violation("newLibraryWithSource: mathMode safe alone leaves the functions fast");
}

std::string with_macros(const CompileOptions* options, const std::string& source) {
  std::string text_with_macros;
  if (options && options->macros)
    for (auto& [name, value] : options->macros->items)
      text_with_macros += "#define " + text(name.object) + " " + text(value.object) + "\n";
  return text_with_macros + source;
}

}  // namespace

Library* new_library(Device*, Sel, Object* source, Object* options, Object** error) {
  raise_if_told();
  if (!source) {
    violation("newLibraryWithSource: source must not be nil");
    return nullptr;
  }
  check_language(static_cast<CompileOptions*>(options));
  check_math(static_cast<CompileOptions*>(options));
  return compile(with_macros(static_cast<CompileOptions*>(options), text(source)), error);
}

// A metallib of the double's is four letters and a text in the place of compiled kernels.
Library* new_compiled_library(Device*, Sel, Url* url, Object** error) {
  if (!url) {
    violation("newLibraryWithURL: url must not be nil");
    return nullptr;
  }
  std::ifstream file(url->path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  if (content.rfind(kCompiled, 0) != 0) {
    set_error(error, kLibraryDomain, 1, "Invalid library file");
    return nullptr;
  }
  return compile(content.substr(strlen(kCompiled)), error);
}

Library* new_stitched_library(Device*, Sel, Object* descriptor, Object** error) {
  auto* wanted = static_cast<StitchedDescriptor*>(descriptor);
  return stitch(wanted->graphs, wanted->functions, error);
}

}  // namespace metal_double
