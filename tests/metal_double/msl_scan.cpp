#include "msl_scan.h"

#include <cctype>
#include <cstdlib>

namespace metal_double {
namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::vector<std::string> tokenize(const std::string& text) {
  std::vector<std::string> tokens;
  bool line_start = true;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n') {
      line_start = true;
      ++i;
    } else if (std::isspace(static_cast<unsigned char>(c))) {
      ++i;
    } else if (text.compare(i, 2, "//") == 0 || (c == '#' && line_start)) {
      while (i < text.size() && text[i] != '\n') i += text[i] == '\\' ? 2 : 1;
    } else if (text.compare(i, 2, "/*") == 0) {
      const size_t end = text.find("*/", i + 2);
      i = end == std::string::npos ? text.size() : end + 2;
    } else if (c == '"') {
      const size_t end = text.find('"', i + 1);
      tokens.push_back(text.substr(i, end == std::string::npos ? end : end - i + 1));
      i = end == std::string::npos ? text.size() : end + 1;
      line_start = false;
    } else {
      size_t end = i + 1;
      if (is_word(c)) {
        while (end < text.size() && (is_word(text[end]) || text[end] == '.')) ++end;
        if (!std::isdigit(static_cast<unsigned char>(c))) end = std::min(end, text.find('.', i));
      }
      tokens.push_back(text.substr(i, end - i));
      i = end;
      line_start = false;
    }
  }
  return tokens;
}

// The index after the bracket that closes the one at `open`.
size_t skip(const std::vector<std::string>& tokens, size_t open, const char* left,
            const char* right) {
  int depth = 0;
  size_t i = open;
  do {
    depth += (tokens[i] == left) - (tokens[i] == right);
    ++i;
  } while (depth > 0 && i < tokens.size());
  return i;
}

bool attribute_at(const std::vector<std::string>& tokens, size_t i) {
  return tokens[i] == "[" && i + 1 < tokens.size() && tokens[i + 1] == "[";
}

std::string join(const std::vector<std::string>& tokens, size_t begin, size_t end) {
  std::string words;
  for (size_t i = begin; i < end; ++i) {
    if (!words.empty() && is_word(words.back()) && is_word(tokens[i][0])) words += ' ';
    words += tokens[i];
  }
  return words;
}

// A member, declared in a struct or reached through an object: not the global of the same name.
bool names_member(const std::vector<std::string>& tokens, size_t i) {
  if (i > 0 && (tokens[i - 1] == "." || (i > 1 && tokens[i - 1] == ">" && tokens[i - 2] == "-")))
    return true;
  return tokens[0] == "struct" && i + 1 < tokens.size() && tokens[i + 1] == ";" &&
         is_word(tokens[i - 1][0]) && tokens[i - 1] != "return";
}

std::string parameter_type(std::vector<std::string> words) {
  for (size_t i = 0; i < words.size();) {
    if (attribute_at(words, i)) {
      words.erase(words.begin() + long(i), words.begin() + long(skip(words, i, "[", "]")));
    } else {
      ++i;
    }
  }
  if (words.size() > 1 && is_word(words.back()[0])) words.pop_back();
  const bool pointer = join(words, 0, words.size()).find_first_of("*&") != std::string::npos;
  if (!pointer)
    for (size_t i = words.size(); i-- > 0;)
      if (words[i] == "const") words.erase(words.begin() + long(i));
  return join(words, 0, words.size());
}

}  // namespace

MslText::MslText(const std::string& text) { read(tokenize(text)); }

void MslText::read(const std::vector<std::string>& tokens) {
  Declaration current;
  for (size_t i = 0; i < tokens.size();) {
    size_t end = i + 1;
    bool complete = false;
    if (tokens[i] == "{") {
      end = skip(tokens, i, "{", "}");
      complete = end >= tokens.size() || tokens[end] != ";";
    } else if (tokens[i] == "(") {
      end = skip(tokens, i, "(", ")");
    } else if (tokens[i] == "[") {
      end = skip(tokens, i, "[", "]");
    } else {
      complete = tokens[i] == ";";
    }
    current.tokens.insert(current.tokens.end(), tokens.begin() + long(i),
                          tokens.begin() + long(end));
    if (complete) {
      add(std::move(current));
      current = {};
    }
    i = end;
  }
}

void MslText::add(Declaration one) {
  const auto& tokens = one.tokens;
  size_t name = tokens.size();
  bool constant = false, named = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (is_word(tokens[i][0]) && !names_member(tokens, i)) one.identifiers.insert(tokens[i]);
    if (tokens[i] == "is_function_constant_defined" && i + 2 < tokens.size())
      asked_whether_defined_.insert(tokens[i + 2]);
    if (tokens[i] == "host_name" && i + 2 < tokens.size())
      for (size_t j = i + 2; j < tokens.size() && tokens[j][0] == '"'; ++j)
        one.host_name += tokens[j].substr(1, tokens[j].size() - 2);
  }
  for (size_t i = 0; i < tokens.size() && !named;) {
    if (attribute_at(tokens, i)) {
      one.kernel |= tokens[i + 2] == "kernel";
      i = skip(tokens, i, "[", "]");
      continue;
    }
    named = tokens[i] == "(" || tokens[i] == "{" || tokens[i] == "=" || tokens[i] == ";";
    if (!named && is_word(tokens[i][0])) {
      if (tokens[i] == "kernel") {
        one.kernel = true;
      } else if (tokens[i] == "constant") {
        constant = true;
      } else if (i + 1 == tokens.size() || tokens[i + 1] != "<" || !one.kernel) {
        name = i;
      } else {
        name = i;
        named = true;
      }
    }
    ++i;
  }
  if (name < tokens.size()) one.introduces = tokens[name];
  for (size_t i = 0; constant && i + 2 < tokens.size(); ++i) {
    if (tokens[i] != "function_constant") continue;
    std::string type;
    for (size_t j = 0; j < name; ++j) {
      if (tokens[j] == ">" && j > 4 && tokens[j - 4] == "<")
        type = tokens[j - 3] + tokens[j - 1];  // vec<float, 4>
      else if (tokens[j] != "constant" && tokens[j] != "const" && tokens[j] != "static")
        type = tokens[j];
    }
    constants_[unsigned(std::strtoul(tokens[i + 2].c_str(), nullptr, 10))] = {one.introduces, type};
  }
  if (one.identifiers.count("visible") || one.identifiers.count("stitchable"))
    add_visible(one, name);
  declarations_.push_back(std::move(one));
}

void MslText::add_visible(const Declaration& one, size_t name) {
  const auto& tokens = one.tokens;
  if (name + 1 >= tokens.size() || tokens[name + 1] != "(") return;
  VisibleFunction function;
  function.stitchable = one.identifiers.count("stitchable") > 0;
  function.defined = tokens.back() == "}";
  size_t begin = 0;
  while (begin < name && (attribute_at(tokens, begin) || tokens[begin] == "extern"))
    begin = tokens[begin] == "extern" ? begin + 1 : skip(tokens, begin, "[", "]");
  function.result = join(tokens, begin, name);
  const size_t close = skip(tokens, name + 1, "(", ")") - 1;
  std::vector<std::string> words;
  int depth = 0;
  for (size_t i = name + 2; i <= close; ++i) {
    depth += (tokens[i] == "<") - (tokens[i] == ">");
    if ((tokens[i] == "," && depth == 0) || i == close) {
      if (!words.empty()) function.parameters.push_back(parameter_type(words));
      words.clear();
    } else {
      words.push_back(tokens[i]);
    }
  }
  if (!visible_.count(one.introduces) || function.defined) visible_[one.introduces] = function;
}

std::vector<std::string> MslText::kernels() const {
  std::vector<std::string> names;
  for (const Declaration& one : declarations_) {
    const bool pattern =
        one.tokens.size() > 1 && one.tokens[0] == "template" && one.tokens[1] == "<";
    if (one.kernel && !pattern)
      names.push_back(one.host_name.empty() ? one.introduces : one.host_name);
  }
  return names;
}

std::vector<const MslText::Declaration*> MslText::reached_from(const std::string& function) const {
  std::vector<const Declaration*> reached;
  std::set<const Declaration*> seen;
  std::set<std::string> names{function};
  std::vector<std::string> open{function};
  while (!open.empty()) {
    const std::string name = open.back();
    open.pop_back();
    for (const Declaration& one : declarations_) {
      if ((one.introduces != name && one.host_name != name) || !seen.insert(&one).second) continue;
      reached.push_back(&one);
      for (const std::string& used : one.identifiers)
        if (names.insert(used).second) open.push_back(used);
    }
  }
  return reached;
}

std::map<unsigned, FunctionConstant> MslText::constants_of(const std::string& function) const {
  std::set<std::string> used;
  for (const Declaration* one : reached_from(function)) used.insert(one->introduces);
  std::map<unsigned, FunctionConstant> found;
  for (const auto& [index, constant] : constants_) {
    if (!used.count(constant.name)) continue;
    found[index] = constant;
    found[index].required = !asked_whether_defined_.count(constant.name);
  }
  return found;
}

std::set<std::string> MslText::undefined_in(const std::string& function) const {
  std::set<std::string> missing;
  for (const Declaration* one : reached_from(function)) {
    auto found = visible_.find(one->introduces);
    if (found != visible_.end() && !found->second.defined) missing.insert(one->introduces);
  }
  return missing;
}

}  // namespace metal_double
