#include "objc.h"

#include <objc/message.h>

// Of libobjc: called with whatever is raised, and returns what is raised instead.
using Preprocessor = NS::Object* (*)(NS::Object*);
extern "C" Preprocessor objc_setExceptionPreprocessor(Preprocessor);

namespace attnproto::metal {
namespace {

thread_local std::string raised_last;
Preprocessor next = nullptr;

NS::String* property(NS::Object* object, const char* selector) {
  using Function = NS::String* (*)(const void*, SEL);
  return responds(object, selector)
             ? reinterpret_cast<Function>(&objc_msgSend)(object, sel_registerName(selector))
             : nullptr;
}

NS::Object* remember(NS::Object* exception) {
  Pool pool;
  raised_last = text(property(exception, "name")) + ": " + text(property(exception, "reason"));
  return next ? next(exception) : exception;
}

}  // namespace

void remember_exceptions() {
  static const bool once = (next = objc_setExceptionPreprocessor(remember), true);
  (void)once;
}

void refuse_exception(const char* where) {
  throw Error(ErrorKind::DispatchError,
              std::string("[") + where + "] found an exception of Metal's (" + raised_last +
                  "), needs a call that it accepts; run again with MTL_DEBUG_LAYER=1 and report "
                  "what it says");
}

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
