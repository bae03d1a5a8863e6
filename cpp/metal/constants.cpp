// Function constants: Metal takes a pointer and a type and believes both, and
// ignores values that match nothing, so both are checked here.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <regex>
#include <set>

#include "internal.h"

namespace attnproto::metal {
namespace {

struct Value {
  unsigned char bytes[8] = {};
};

std::string spell(const Constant& constant) {
  std::string key = std::holds_alternative<uint32_t>(constant.key)
                        ? std::to_string(std::get<uint32_t>(constant.key))
                        : std::get<std::string>(constant.key);
  if (auto* truth = std::get_if<bool>(&constant.value)) return key + (*truth ? "=true" : "=false");
  if (auto* whole = std::get_if<int64_t>(&constant.value))
    return key + "=" + std::to_string(*whole);
  char number[40];
  std::snprintf(number, sizeof number, "=%.17g", std::get<double>(constant.value));
  // A real is not the integer it may equal: an integer constant refuses it.
  const bool looks_whole =
      std::string(number).find_first_not_of("=-0123456789") == std::string::npos;
  return key + number + (looks_whole ? ".0" : "");
}

[[noreturn]] void refuse(const std::string& kernel, const Constant& constant, const char* needs) {
  throw Error(ErrorKind::KernelCompileError, "[metal.constant] found " + spell(constant) + " for " +
                                                 kernel + ", needs " + needs +
                                                 "; pass a value the kernel text declares");
}

template <class T>
Value store(T value) {
  Value out;
  std::memcpy(out.bytes, &value, sizeof value);
  return out;
}

template <class T>
Value store_integer(const std::string& kernel, const Constant& constant) {
  int64_t whole = 0;
  if (auto* truth = std::get_if<bool>(&constant.value)) {
    whole = *truth;
  } else if (auto* number = std::get_if<int64_t>(&constant.value)) {
    whole = *number;
  } else {
    refuse(kernel, constant, "an integer");
  }
  const bool fits = std::is_same_v<T, uint64_t> ? whole >= 0
                                                : whole >= int64_t(std::numeric_limits<T>::min()) &&
                                                      uint64_t(std::max<int64_t>(whole, 0)) <=
                                                          uint64_t(std::numeric_limits<T>::max());
  if (!fits) refuse(kernel, constant, "an integer the declared type can hold");
  return store(T(whole));
}

double as_real(const std::string& kernel, const Constant& constant, double largest) {
  double real = 0;
  if (auto* whole = std::get_if<int64_t>(&constant.value)) {
    real = double(*whole);
  } else if (auto* number = std::get_if<double>(&constant.value)) {
    real = *number;
  } else {
    refuse(kernel, constant, "a number");
  }
  if (std::isfinite(real) && std::fabs(real) > largest)
    refuse(kernel, constant, "a number the declared type can hold");
  return real;
}

bool as_bool(const std::string& kernel, const Constant& constant) {
  if (auto* truth = std::get_if<bool>(&constant.value)) return *truth;
  auto* whole = std::get_if<int64_t>(&constant.value);
  if (!whole || (*whole != 0 && *whole != 1)) refuse(kernel, constant, "true or false");
  return *whole == 1;
}

Value convert(const std::string& kernel, const Constant& constant, MTL::DataType type) {
  switch (type) {
    case MTL::DataTypeBool:
      return store(as_bool(kernel, constant));
    case MTL::DataTypeChar:
      return store_integer<int8_t>(kernel, constant);
    case MTL::DataTypeUChar:
      return store_integer<uint8_t>(kernel, constant);
    case MTL::DataTypeShort:
      return store_integer<int16_t>(kernel, constant);
    case MTL::DataTypeUShort:
      return store_integer<uint16_t>(kernel, constant);
    case MTL::DataTypeInt:
      return store_integer<int32_t>(kernel, constant);
    case MTL::DataTypeUInt:
      return store_integer<uint32_t>(kernel, constant);
    case MTL::DataTypeLong:
      return store_integer<int64_t>(kernel, constant);
    case MTL::DataTypeULong:
      return store_integer<uint64_t>(kernel, constant);
    case MTL::DataTypeFloat:
      return store(float(as_real(kernel, constant, std::numeric_limits<float>::max())));
    case MTL::DataTypeHalf:
      return store(_Float16(as_real(kernel, constant, 65504.0)));
    default:
      refuse(kernel, constant, "a constant of scalar type (bool, integer, half or float)");
  }
}

// A constant of the text that this kernel does not use is no mistake.
bool declared_in(const std::string& msl_texts, const Constant& constant) {
  std::string pattern;
  if (auto* index = std::get_if<uint32_t>(&constant.key)) {
    pattern = "function_constant\\s*\\(\\s*" + std::to_string(*index) + "\\s*\\)";
  } else {
    const auto& name = std::get<std::string>(constant.key);
    if (!std::regex_match(name, std::regex("[A-Za-z_]\\w*"))) return false;
    pattern = "\\b" + name + "\\s*\\[\\[\\s*function_constant\\b";
  }
  return std::regex_search(msl_texts, std::regex(pattern));
}

}  // namespace

Owned<MTL::FunctionConstantValues> constant_values(const std::string& kernel,
                                                   const std::string& msl_texts,
                                                   const NS::Dictionary* declared,
                                                   const std::vector<Constant>& constants) {
  auto values = make<MTL::FunctionConstantValues>();
  std::vector<MTL::FunctionConstant*> known;
  std::set<NS::UInteger> given;
  auto* names = declared->keyEnumerator<NS::String>();
  while (NS::String* name = names->nextObject())
    known.push_back(declared->object<MTL::FunctionConstant>(name));
  for (const Constant& constant : constants) {
    auto matches = [&](MTL::FunctionConstant* one) {
      if (auto* index = std::get_if<uint32_t>(&constant.key)) return one->index() == *index;
      return text(one->name()) == std::get<std::string>(constant.key);
    };
    auto found = std::find_if(known.begin(), known.end(), matches);
    if (found == known.end()) {
      if (declared_in(msl_texts, constant)) continue;
      refuse(kernel, constant, "the index or name of a function constant");
    }
    if (!given.insert((*found)->index()).second)
      refuse(kernel, constant, "one value for each function constant, by its index or its name");
    Value value = convert(kernel, constant, (*found)->type());
    values->setConstantValue(value.bytes, (*found)->type(), (*found)->index());
  }
  return values;
}

std::string constants_key(const std::vector<Constant>& constants) {
  std::vector<std::string> parts;
  for (const Constant& constant : constants) parts.push_back(spell(constant));
  std::sort(parts.begin(), parts.end());
  std::string key;
  for (const std::string& part : parts) key += part + "\n";
  return key;
}

}  // namespace attnproto::metal
