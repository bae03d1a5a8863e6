// What the double must know of an MSL text without compiling it: its functions,
// their types, and which function constants each of them reaches.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace metal_double {

struct FunctionConstant {
  std::string name, type;
  bool required = true;
};

struct VisibleFunction {
  std::string result;
  std::vector<std::string> parameters;
  bool stitchable = false;
  bool defined = false;  // declared functions wait to be linked
};

class MslText {
 public:
  explicit MslText(const std::string& text);

  const std::map<std::string, VisibleFunction>& visible() const { return visible_; }
  std::vector<std::string> kernels() const;
  // Constants by index that the function reaches, directly or through what it calls.
  std::map<unsigned, FunctionConstant> constants_of(const std::string& function) const;
  // Visible functions it reaches that are declared and not defined here.
  std::set<std::string> undefined_in(const std::string& function) const;

 private:
  struct Declaration {
    std::vector<std::string> tokens;
    std::set<std::string> identifiers;
    std::string introduces, host_name;
    bool kernel = false;
  };
  void read(const std::vector<std::string>& tokens);
  void add(Declaration declaration);
  void add_visible(const Declaration& declaration, size_t name);
  std::vector<const Declaration*> reached_from(const std::string& function) const;

  std::vector<Declaration> declarations_;
  std::map<std::string, VisibleFunction> visible_;
  std::map<unsigned, FunctionConstant> constants_;
  std::set<std::string> asked_whether_defined_;
};

}  // namespace metal_double
