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

// What Metal reads of a value: at most a long4.
struct Value {
  unsigned char bytes[32] = {};
};

std::string spell(const Number& number) {
  if (auto* truth = std::get_if<bool>(&number)) return *truth ? "true" : "false";
  if (auto* whole = std::get_if<int64_t>(&number)) return std::to_string(*whole);
  if (auto* large = std::get_if<uint64_t>(&number)) return std::to_string(*large);
  char real[40];
  std::snprintf(real, sizeof real, "%.17g", std::get<double>(number));
  // A real is not the integer it may equal: an integer constant refuses it.
  const bool looks_whole = std::string(real).find_first_not_of("-0123456789") == std::string::npos;
  return std::string(real) + (looks_whole ? ".0" : "");
}

std::string spell(const Constant& constant) {
  std::string spelled = std::holds_alternative<uint32_t>(constant.key)
                            ? std::to_string(std::get<uint32_t>(constant.key))
                            : std::get<std::string>(constant.key);
  if (auto* number = std::get_if<Number>(&constant.value)) return spelled + "=" + spell(*number);
  const char* before = "=[";
  for (const Number& element : std::get<std::vector<Number>>(constant.value)) {
    spelled += before + spell(element);
    before = ", ";
  }
  return spelled + "]";
}

// The upper half of a float, rounded to even.
struct Bfloat {
  uint16_t bits;
  explicit Bfloat(double value) {
    const float single = float(value);
    uint32_t whole;
    std::memcpy(&whole, &single, sizeof whole);
    const uint32_t up = std::isnan(single) ? 0 : 0x7fff + (whole >> 16 & 1);
    bits = uint16_t((whole + up) >> 16);
  }
  explicit operator double() const {
    const uint32_t whole = uint32_t(bits) << 16;
    float single;
    std::memcpy(&single, &whole, sizeof single);
    return single;
  }
};

// One function constant of one kernel, which knows how to refuse what does not fit.
struct Given {
  const std::string& kernel;
  const Constant& constant;

  [[noreturn]] void refuse(const std::string& needs) const {
    throw Error(ErrorKind::KernelCompileError, "[metal.constant] found " + spell(constant) +
                                                   " for " + kernel + ", needs " + needs +
                                                   "; pass a value the kernel text declares");
  }

  template <class T>
  T integer(const Number& number) const {
    return std::visit(
        [&](auto given) -> T {
          if constexpr (std::is_same_v<decltype(given), double>) {
            refuse("an integer");
          } else {
            const bool fits = given < 0
                                  ? std::is_signed_v<T> &&
                                        int64_t(given) >= int64_t(std::numeric_limits<T>::min())
                                  : uint64_t(given) <= uint64_t(std::numeric_limits<T>::max());
            if (!fits) refuse("an integer the declared type can hold");
            return T(given);
          }
        },
        number);
  }

  // T rounds a double and is a double again.
  template <class T>
  T real(const Number& number) const {
    if (std::holds_alternative<bool>(number)) refuse("a number");
    const double real = std::visit([](auto given) { return double(given); }, number);
    const T rounded(real);
    if (std::isinf(double(rounded)) && !std::isinf(real))
      refuse("a number the declared type can hold");
    return rounded;
  }

  bool truth(const Number& number) const {
    if (auto* truth = std::get_if<bool>(&number)) return *truth;
    auto* whole = std::get_if<int64_t>(&number);
    if (!whole || (*whole != 0 && *whole != 1)) refuse("true or false");
    return *whole == 1;
  }
};

// Writes a number and says how many bytes it takes.
size_t store(unsigned char* to, const Given& given, const Number& number, MTL::DataType type) {
  auto write = [&](auto value) {
    std::memcpy(to, &value, sizeof value);
    return sizeof value;
  };
  switch (type) {
    case MTL::DataTypeBool:
      return write(given.truth(number));
    case MTL::DataTypeChar:
      return write(given.integer<int8_t>(number));
    case MTL::DataTypeUChar:
      return write(given.integer<uint8_t>(number));
    case MTL::DataTypeShort:
      return write(given.integer<int16_t>(number));
    case MTL::DataTypeUShort:
      return write(given.integer<uint16_t>(number));
    case MTL::DataTypeInt:
      return write(given.integer<int32_t>(number));
    case MTL::DataTypeUInt:
      return write(given.integer<uint32_t>(number));
    case MTL::DataTypeLong:
      return write(given.integer<int64_t>(number));
    case MTL::DataTypeULong:
      return write(given.integer<uint64_t>(number));
    case MTL::DataTypeHalf:
      return write(given.real<_Float16>(number));
    case MTL::DataTypeBFloat:
      return write(given.real<Bfloat>(number));
    default:
      return write(given.real<float>(number));
  }
}

Value convert(const Given& given, MTL::DataType type) {
  // The types of vectors of two, three and four follow that of their elements.
  for (MTL::DataType element :
       {MTL::DataTypeFloat, MTL::DataTypeHalf, MTL::DataTypeInt, MTL::DataTypeUInt,
        MTL::DataTypeShort, MTL::DataTypeUShort, MTL::DataTypeChar, MTL::DataTypeUChar,
        MTL::DataTypeBool, MTL::DataTypeLong, MTL::DataTypeULong, MTL::DataTypeBFloat}) {
    if (type < element || type > element + 3) continue;
    const size_t width = type - element + 1;
    Value value;
    if (auto* number = std::get_if<Number>(&given.constant.value)) {
      if (width > 1) given.refuse(std::to_string(width) + " elements");
      store(value.bytes, given, *number, element);
      return value;
    }
    const auto& elements = std::get<std::vector<Number>>(given.constant.value);
    if (width == 1) given.refuse("one value");
    if (elements.size() != width) given.refuse(std::to_string(width) + " elements");
    size_t at = 0;
    for (const Number& one : elements) at += store(value.bytes + at, given, one, element);
    return value;
  }
  given.refuse("a constant of a scalar or vector type");
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
      Given{kernel, constant}.refuse("the index or name of a function constant");
    }
    if (!given.insert((*found)->index()).second)
      Given{kernel, constant}.refuse(
          "one value for each function constant, by its index or its name");
    const Value value = convert({kernel, constant}, (*found)->type());
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
