#include "objc.h"

#include <objc/message.h>

namespace attnproto::metal {

bool responds(const NS::Object* object, const char* selector) {
  using Function = bool (*)(const void*, SEL, SEL);
  return object && reinterpret_cast<Function>(&objc_msgSend)(
                       object, sel_registerName("respondsToSelector:"), sel_registerName(selector));
}

const void* data_bytes(const NS::Data* data) {
  using Function = const void* (*)(const void*, SEL);
  return data ? reinterpret_cast<Function>(&objc_msgSend)(data, sel_registerName("bytes"))
              : nullptr;
}

NS::String* ns(const std::string& text) {
  NS::String* string = text.find('\0') == std::string::npos
                           ? NS::String::string(text.c_str(), NS::UTF8StringEncoding)
                           : nullptr;
  if (!string)
    throw Error(ErrorKind::KernelCompileError,
                "[metal.text] found text with a zero byte or outside UTF-8, needs plain UTF-8; "
                "save the file as UTF-8");
  return string;
}

std::string text(const NS::String* string) {
  const char* characters = string ? string->utf8String() : nullptr;
  return characters ? characters : "";
}

std::string describe(const NS::Error* error) {
  if (!error) return "Metal gave no reason";
  return text(error->localizedDescription()) + " [" + text(error->domain()) + " " +
         std::to_string(error->code()) + "]";
}

bool lost_compiler(const NS::Error* error) {
  return error && describe(error).find("XPC_ERROR_CONNECTION_INTERRUPTED") != std::string::npos;
}

NS::URL* file_url(const std::string& path) { return NS::URL::fileURLWithPath(ns(path)); }

}  // namespace attnproto::metal
