#include "stitching.h"

#include <regex>

namespace attnproto {
namespace {

std::string without_comments(const std::string& msl_text) {
  static const std::regex comment(R"(//[^\n]*|/\*[^*]*\*+([^/*][^*]*\*+)*/)");
  return std::regex_replace(msl_text, comment, " ");
}

std::string squeeze(const std::string& words) {
  std::string out = std::regex_replace(words, std::regex(R"(\s+)"), " ");
  out = std::regex_replace(out, std::regex(R"( ?([*&<>,]) ?)"), "$1");
  const size_t first = out.find_first_not_of(' ');
  return first == std::string::npos ? "" : out.substr(first, out.find_last_not_of(' ') - first + 1);
}

// "device const float* x" without its name and attributes; by-value const means nothing to a
// caller.
std::string parameter_type(std::string parameter) {
  parameter = std::regex_replace(parameter, std::regex(R"(\[\[[^\]]*\]\])"), " ");
  parameter = squeeze(parameter);
  std::smatch match;
  static const std::regex named(R"(^(.*[ *&>])([A-Za-z_]\w*)$)");
  if (std::regex_match(parameter, match, named)) parameter = squeeze(match[1]);
  if (parameter.find_first_of("*&") == std::string::npos)
    parameter = squeeze(std::regex_replace(parameter, std::regex(R"(\bconst\b)"), ""));
  return parameter;
}

std::vector<std::string> split_parameters(const std::string& list) {
  std::vector<std::string> parts;
  std::string part;
  int depth = 0;
  for (char c : list) {
    depth += (c == '<') - (c == '>');
    if (c == ',' && depth == 0) {
      parts.push_back(part);
      part.clear();
    } else {
      part += c;
    }
  }
  if (!squeeze(part).empty() && squeeze(part) != "void") parts.push_back(part);
  return parts;
}

[[noreturn]] void refuse(const StitchedFunction& function, const std::string& found,
                         const std::string& needs) {
  throw Error(ErrorKind::KernelCompileError, "[device.stitch] found " + found + " in " +
                                                 function.name + ", needs " + needs +
                                                 "; change the graph or the function");
}

std::string place(const StitchedCall& call, size_t position) {
  return "argument " + std::to_string(position) + " of " + call.function;
}

}  // namespace

std::string spell(const Signature& signature) {
  std::string list;
  for (const std::string& type : signature.parameters) list += (list.empty() ? "" : ", ") + type;
  return signature.result + "(" + list + ")";
}

std::map<std::string, Signature> visible_signatures(const std::string& msl_text) {
  const std::string code = without_comments(msl_text);
  static const std::regex function(
      R"(\[\[\s*(?:visible|stitchable)\s*\]\]\s*([\w:<>,*& \t\n]+?)\s*\b([A-Za-z_]\w*)\s*\(([^()]*)\))");
  std::map<std::string, Signature> found;
  for (std::sregex_iterator match(code.begin(), code.end(), function), end; match != end; ++match) {
    Signature signature{squeeze((*match)[1]), {}};
    for (const std::string& parameter : split_parameters((*match)[3]))
      signature.parameters.push_back(parameter_type(parameter));
    found[(*match)[2]] = signature;
  }
  return found;
}

namespace {

// A function of the graph with its types: inputs by index, and what it returns.
struct Typed {
  std::map<uint32_t, std::string> inputs;
  std::string result;
};

Typed check(const std::map<std::string, Signature>& known, const StitchedFunction& function) {
  if (function.calls.empty()) refuse(function, "no calls", "at least one call");
  Typed typed;
  std::vector<std::string> results;
  for (const StitchedCall& call : function.calls) {
    auto signature = known.find(call.function);
    if (signature == known.end())
      refuse(function, "no visible function " + call.function,
             "a function marked [[stitchable]] with its types written out");
    const auto& parameters = signature->second.parameters;
    if (parameters.size() != call.arguments.size())
      refuse(function, std::to_string(call.arguments.size()) + " arguments for " + call.function,
             std::to_string(parameters.size()));
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto& argument = call.arguments[i];
      std::string type = parameters[i];
      if (argument.from == StitchedCall::From::Call) {
        if (argument.index >= results.size())
          refuse(function, place(call, i) + " taken from a later call", "an earlier call");
        type = results[argument.index];
      } else {
        type = typed.inputs.emplace(argument.index, parameters[i]).first->second;
      }
      if (type != parameters[i]) refuse(function, type + " as " + place(call, i), parameters[i]);
    }
    results.push_back(signature->second.result);
  }
  uint32_t position = 0;
  for (const auto& input : typed.inputs) {
    if (input.first != position)
      refuse(function, "no use of input " + std::to_string(position), "inputs counted from 0");
    ++position;
  }
  typed.result = results.back();
  return typed;
}

std::string heading(const StitchedFunction& function, const Typed& typed) {
  std::string parameters;
  for (const auto& [index, type] : typed.inputs)
    parameters += (index ? ", " : "") + type + " input" + std::to_string(index);
  return typed.result + " " + function.name + "(" + parameters + ")";
}

}  // namespace

std::string check_stitching(const std::string& msl_text,
                            const std::vector<StitchedFunction>& functions) {
  const auto known = visible_signatures(msl_text);
  std::string declarations;
  for (const StitchedFunction& function : functions)
    declarations += "[[visible]] " + heading(function, check(known, function)) + ";\n";
  return declarations;
}

std::string stitched_source(const std::string& msl_text,
                            const std::vector<StitchedFunction>& functions) {
  const auto known = visible_signatures(msl_text);
  std::string definitions;
  for (const StitchedFunction& function : functions) {
    const Typed typed = check(known, function);
    definitions += "[[visible]] ";
    if (!function.always_inline) definitions += "__attribute__((noinline)) ";
    definitions += heading(function, typed) + " {\n";
    for (size_t i = 0; i < function.calls.size(); ++i) {
      const StitchedCall& call = function.calls[i];
      const std::string& type = known.at(call.function).result;
      const bool last = i + 1 == function.calls.size();
      std::string arguments;
      for (const auto& argument : call.arguments)
        arguments += (arguments.empty() ? "" : ", ") +
                     std::string(argument.from == StitchedCall::From::Call ? "call" : "input") +
                     std::to_string(argument.index);
      const std::string called = call.function + "(" + arguments + ");\n";
      // A call without a value is there for what it does.
      if (last && type != "void")
        definitions += "  return " + called;
      else if (type == "void")
        definitions += "  " + called;
      else
        definitions += "  " + type + " call" + std::to_string(i) + " = " + called;
    }
    definitions += "}\n";
  }
  return definitions;
}

}  // namespace attnproto
