// The classes of Foundation that Metal takes and hands out.
#include <utility>

#include "metal_objects.h"

namespace metal_double {

void register_root();

extern "C" objc_class __CFConstantStringClassReference;
objc_class __CFConstantStringClassReference;

namespace {

// What the compiler lays down for a constant string.
struct ConstantString {
  Class isa;
  int flags;
  const char* text;
  long length;
};

struct Enumerator : Object {
  Ref<Dictionary> dictionary;
  size_t next = 0;
};

struct ProcessInfo : Object {};
struct PowerSources : Object {};

struct Exception : Object {
  Ref<String> name, reason;
};

using Preprocessor = Object* (*)(Object*);
Preprocessor preprocessor = nullptr;

bool is_string(const Object* object) {
  return object->isa == Type<String>::known || object->isa == &__CFConstantStringClassReference;
}

bool equal(Object* a, Object* b) {
  return a == b || (a && b && is_string(a) && is_string(b) && text(a) == text(b));
}

void register_strings() {
  Type<String>("NSString", root_class())
      .class_method("stringWithCString:encoding:",
                    [](Class, Sel, const char* content, UInt) { return string(content); })
      .method("UTF8String", [](String* self, Sel) { return self->text.c_str(); })
      .method("length", [](String* self, Sel) { return UInt(self->text.size()); })
      .method("isEqualToString:",
              [](Object* self, Sel, Object* other) { return equal(self, other); })
      .method("isEqual:", [](Object* self, Sel, Object* other) { return equal(self, other); });
  struct Constant : Object {};
  Type<Constant>("__NSCFConstantString", root_class())
      .method("UTF8String", [](ConstantString* self, Sel) { return self->text; })
      .method("length", [](ConstantString* self, Sel) { return UInt(self->length); })
      .method("isEqualToString:",
              [](Object* self, Sel, Object* other) { return equal(self, other); });
  __CFConstantStringClassReference = *Type<Constant>::known;
}

void register_collections() {
  Type<Array>("NSArray", root_class())
      .class_method("array", [](Class, Sel) { return pooled(make<Array>()); })
      .class_method("arrayWithObjects:count:",
                    [](Class, Sel, Object** objects, UInt count) {
                      Array* array = make<Array>();
                      for (UInt i = 0; i < count; ++i) {
                        if (objects[i]) {
                          array->items.push_back(objects[i]);
                        } else {
                          violation("NSArray: nil object at %zu", size_t(i));
                        }
                      }
                      return pooled(array);
                    })
      .method("count", [](Array* self, Sel) { return UInt(self->items.size()); })
      .method("objectAtIndex:", [](Array* self, Sel, UInt index) -> Object* {
        if (index < self->items.size()) return self->items[index];
        violation("NSRangeException: index %zu beyond bounds of an NSArray", size_t(index));
        return nullptr;
      });
  Type<Dictionary>("NSDictionary", root_class())
      .class_method("dictionaryWithObjects:forKeys:count:",
                    [](Class, Sel, Object** objects, Object** keys, UInt count) {
                      Dictionary* dictionary = make<Dictionary>();
                      for (UInt i = 0; i < count; ++i)
                        dictionary->items.push_back({keys[i], objects[i]});
                      return pooled(dictionary);
                    })
      .method("count", [](Dictionary* self, Sel) { return UInt(self->items.size()); })
      .method("keyEnumerator",
              [](Dictionary* self, Sel) {
                Enumerator* enumerator = make<Enumerator>();
                enumerator->dictionary = self;
                return pooled(enumerator);
              })
      .method("objectForKey:", [](Dictionary* self, Sel, Object* key) -> Object* {
        for (auto& [known, value] : self->items)
          if (equal(known, key)) return value;
        return nullptr;
      });
  Type<Enumerator>("NSEnumerator", root_class())
      .method("nextObject", [](Enumerator* self, Sel) -> Object* {
        auto& items = self->dictionary->items;
        return self->next < items.size() ? items[self->next++].first.object : nullptr;
      });
}

}  // namespace

std::string text(const Object* object) {
  if (!object) return "";
  if (object->isa == &__CFConstantStringClassReference) {
    auto* constant = reinterpret_cast<const ConstantString*>(object);
    return {constant->text, size_t(constant->length)};
  }
  return static_cast<const String*>(object)->text;
}

String* string(const std::string& content) {
  String* made = make<String>();
  made->text = content;
  return pooled(made);
}

String* immortal_string(const char* content) {
  String* made = make<String>();
  made->text = content;
  made->immortal = true;
  return made;
}

ErrorObject* make_error(const char* domain, int code, const std::string& message) {
  ErrorObject* error = make<ErrorObject>();
  error->domain = string(domain);
  error->message = string(message);
  error->code = code;
  return pooled(error);
}

void raise_if_told() {
  if (!taken(behaviour().raise_next)) return;
  Exception* exception = make<Exception>();
  exception->name = string("NSInvalidArgumentException");
  exception->reason = string("the software double was told to raise");
  Object* raised = pooled(exception);
  if (preprocessor) raised = preprocessor(raised);
  throw raised;
}

void set_error(Object** out, const char* domain, int code, const std::string& message) {
  if (out) *out = make_error(domain, code, message);
}

std::string reason(const std::exception& refused) {
  std::string message = refused.what();
  if (message.rfind("Traceback", 0) != 0) return message;
  size_t line = message.find('\n') + 1;
  while (message.compare(line, 2, "  ") == 0) line = message.find('\n', line) + 1;
  return message.substr(line);
}

#define FOUNDATION_STRINGS(X)            \
  X(CocoaErrorDomain)                    \
  X(POSIXErrorDomain)                    \
  X(OSStatusErrorDomain)                 \
  X(MachErrorDomain)                     \
  X(UnderlyingErrorKey)                  \
  X(LocalizedDescriptionKey)             \
  X(LocalizedFailureReasonErrorKey)      \
  X(LocalizedRecoverySuggestionErrorKey) \
  X(LocalizedRecoveryOptionsErrorKey)    \
  X(RecoveryAttempterErrorKey)           \
  X(HelpAnchorErrorKey)                  \
  X(DebugDescriptionErrorKey)            \
  X(LocalizedFailureErrorKey) X(StringEncodingErrorKey) X(URLErrorKey) X(FilePathErrorKey)
#define DEFINE(name)           \
  extern "C" String* NS##name; \
  String* NS##name;
FOUNDATION_STRINGS(DEFINE)
#undef DEFINE

extern "C" {
Preprocessor objc_setExceptionPreprocessor(Preprocessor wanted) {
  return std::exchange(preprocessor, wanted);
}
void* IOPSCopyPowerSourcesInfo() { return make<PowerSources>(); }
const void* IOPSGetProvidingPowerSourceType(const void*) {
  return string(behaviour().on_battery ? "Battery Power" : "AC Power");
}
}

void register_foundation() {
  register_root();
  register_strings();
  register_collections();
  Type<ErrorObject>("NSError", root_class())
      .property<&ErrorObject::message>("localizedDescription")
      .property<&ErrorObject::domain>("domain")
      .property<&ErrorObject::code>("code")
      .property<&ErrorObject::details>("userInfo");
  Type<PowerSources>("__NSCFType", root_class());
  Type<Exception>("NSException", root_class())
      .property<&Exception::name>("name")
      .property<&Exception::reason>("reason");
  Type<Url>("NSURL", root_class())
      .class_method("fileURLWithPath:", [](Class, Sel, Object* path) -> Url* {
        if (!path) {
          violation("+[NSURL fileURLWithPath:]: nil path");
          return nullptr;
        }
        Url* url = make<Url>();
        url->path = text(path);
        return pooled(url);
      });
  // Immutable: it does not answer to mutableBytes.
  Type<Data>("NSData", root_class())
      .method("length", [](Data* self, Sel) { return UInt(self->content.size()); })
      .method("bytes", [](Data* self, Sel) -> const void* { return self->content.data(); });
  Type<ProcessInfo>("NSProcessInfo", root_class())
      .class_method("processInfo", [](Class, Sel) { return pooled(make<ProcessInfo>()); })
      .method("thermalState", [](ProcessInfo*, Sel) { return intptr_t(behaviour().thermal_state); })
      .method("isLowPowerModeEnabled", [](ProcessInfo*, Sel) { return behaviour().low_power_mode; })
      .method("operatingSystemVersionString", [](ProcessInfo*, Sel) {
        return string("Version " + std::to_string(behaviour().macos) + " (software double)");
      });
#define FILL(name) NS##name = immortal_string("NS" #name);
  FOUNDATION_STRINGS(FILL)
#undef FILL
}

}  // namespace metal_double
