#include "stitching.h"

#include <cctype>

namespace attnproto {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string without_comments(const std::string& msl_text) {
  std::string code;
  for (size_t i = 0; i < msl_text.size();) {
    const bool line = msl_text.compare(i, 2, "//") == 0, block = msl_text.compare(i, 2, "/*") == 0;
    if (!line && !block) {
      code += msl_text[i++];
      continue;
    }
    const size_t end = line ? msl_text.find('\n', i) : msl_text.find("*/", i + 2);
    i = end == std::string::npos ? msl_text.size() : end + (block ? 2 : 0);
    code += ' ';
  }
  return code;
}

// Words with one space between them, and none beside punctuation.
std::string squeeze(const std::string& words) {
  std::string out;
  for (size_t i = 0; i < words.size(); i++) {
    if (!is_space(words[i])) {
      out += words[i];
      continue;
    }
    const size_t next = words.find_first_not_of(" \t\r\n\f\v", i);
    if (next == std::string::npos) break;
    if (!out.empty() && is_word(out.back()) && is_word(words[next])) out += ' ';
    i = next - 1;
  }
  return out;
}

std::string without_attributes(std::string text) {
  for (size_t begin; (begin = text.find("[[")) != std::string::npos;) {
    const size_t end = text.find("]]", begin);
    text.replace(begin, end == std::string::npos ? end : end + 2 - begin, " ");
  }
  return text;
}

// Splits off the name at the end of a declaration, "float x" or "device float*x".
std::string split_name(std::string& declaration) {
  size_t begin = declaration.size();
  while (begin > 0 && is_word(declaration[begin - 1])) begin--;
  const std::string name = declaration.substr(begin);
  declaration = squeeze(declaration.substr(0, begin));
  return name;
}

std::string without_const(const std::string& type) {
  std::string out, word;
  for (char c : type + " ") {
    if (is_word(c)) {
      word += c;
      continue;
    }
    if (word != "const") out += word;
    word.clear();
    out += c;
  }
  return squeeze(out);
}

// "device const float* x" without its name and attributes; by-value const means nothing to a
// caller.
std::string parameter_type(const std::string& parameter) {
  std::string type = squeeze(without_attributes(parameter)), unnamed = type;
  // A declaration may leave the name out: "float" alone is a type.
  if (!split_name(unnamed).empty() && !unnamed.empty()) type = unnamed;
  return type.find_first_of("*&") == std::string::npos ? without_const(type) : type;
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
  std::map<std::string, Signature> found;
  for (size_t at = 0; (at = code.find("[[", at)) != std::string::npos;) {
    const size_t close = code.find("]]", at);
    if (close == std::string::npos) break;
    const std::string attribute = squeeze(code.substr(at + 2, close - at - 2));
    at = close + 2;
    if (attribute != "visible" && attribute != "stitchable") continue;
    const size_t open = code.find_first_of("({;", at);
    if (open == std::string::npos || code[open] != '(') continue;
    const size_t end = code.find_first_of("()", open + 1);
    if (end == std::string::npos || code[end] != ')') continue;
    std::string head = squeeze(code.substr(at, open - at));
    const std::string name = split_name(head);
    if (name.empty() || head.empty()) continue;
    Signature signature{head, {}};
    for (const std::string& parameter : split_parameters(code.substr(open + 1, end - open - 1)))
      signature.parameters.push_back(parameter_type(parameter));
    found[name] = signature;
    at = end;
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
