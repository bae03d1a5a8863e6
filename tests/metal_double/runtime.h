// A small Objective-C runtime: classes are tables from selector to function,
// objects are counted, and a ledger knows every live one by name.
#pragma once

#include <objc/runtime.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "double.h"

namespace metal_double {

using Sel = const char*;  // interned
using UInt = uintptr_t;
struct Object;

struct Method {
  void* function = nullptr;
  int since = 0;  // the macOS that brought it, 0 for always
};

}  // namespace metal_double

// Named by objc/runtime.h; also the layout of the constant strings' class symbol.
struct objc_class {
  Class isa, parent;
  const char* name;
  metal_double::Object* (*create)();
  void (*destroy)(metal_double::Object*);
  std::unordered_map<metal_double::Sel, metal_double::Method>* methods;
};

namespace metal_double {

struct Object {
  Class isa;
  std::atomic<long> count;
  uint32_t serial;
  bool immortal;
};

void violation(const char* format, ...) __attribute__((format(printf, 1, 2)));
void warning(const char* format, ...) __attribute__((format(printf, 1, 2)));
size_t violation_count();

Sel intern(const char* name);
Class define_class(const char* name, Class parent);
void track(Object* object);
std::string describe(const Object* object);
Object* retain(Object* object);
void release(Object* object);
Object* autorelease(Object* object);
Object* push_pool();
void pop_pool(Object* pool);
// Commands on their way keep objects alive: the ledger waits for them.
void work_begins();
void work_ends();
void note_math(const std::string& math);

// An owning pointer between objects of the double.
template <class T>
struct Ref {
  T* object = nullptr;
  Ref() = default;
  Ref(T* one) : object(one) {
    if (object) retain(object);
  }
  Ref(const Ref& other) : Ref(other.object) {}
  Ref& operator=(const Ref& other) {
    T* old = object;
    object = other.object;
    if (object) retain(object);
    if (old) release(old);
    return *this;
  }
  ~Ref() {
    if (object) release(object);
  }
  operator T*() const { return object; }
  T* operator->() const { return object; }
};

template <auto Member>
struct Property;
template <class S, class T, T S::* Member>
struct Property<Member> {
  static T get(S* self, Sel) { return self->*Member; }
  static void set(S* self, Sel, T value) { self->*Member = value; }
};
template <class S, class T, Ref<T> S::* Member>
struct Property<Member> {
  static T* get(S* self, Sel) { return self->*Member; }
  static void set(S* self, Sel, T* value) { self->*Member = Ref<T>(value); }
};

// Defines the class of T and its methods.
template <class T>
class Type {
 public:
  static inline Class known = nullptr;
  Type(const char* name, Class parent) {
    known = define_class(name, parent);
    known->create = [] {
      T* object = new T();
      object->isa = known;
      object->count = 1;
      object->immortal = false;
      track(object);
      return static_cast<Object*>(object);
    };
    known->destroy = [](Object* object) { static_cast<T*>(object)->~T(); };
  }
  template <class F>
  Type& method(const char* selector, F function, int since = 0) {
    (*known->methods)[intern(selector)] = {reinterpret_cast<void*>(+function), since};
    return *this;
  }
  template <class F>
  Type& class_method(const char* selector, F function, int since = 0) {
    (*known->isa->methods)[intern(selector)] = {reinterpret_cast<void*>(+function), since};
    return *this;
  }
  template <auto Member>
  Type& property(const char* getter, const char* setter = nullptr, int since = 0) {
    (*known->methods)[intern(getter)] = {reinterpret_cast<void*>(&Property<Member>::get), since};
    if (setter)
      (*known->methods)[intern(setter)] = {reinterpret_cast<void*>(&Property<Member>::set), since};
    return *this;
  }
};

template <class T>
T* make() {  // +1, the caller's
  return static_cast<T*>(Type<T>::known->create());
}
template <class T>
T* pooled(T* object) {  // +0, the pool's
  autorelease(object);
  return object;
}

// Foundation, as far as Metal hands it out.
struct String : Object {
  std::string text;
};
struct Array : Object {
  std::vector<Ref<Object>> items;
};
struct Dictionary : Object {
  std::vector<std::pair<Ref<Object>, Ref<Object>>> items;
};
struct ErrorObject : Object {
  Ref<String> domain, message;
  intptr_t code = 0;
  Ref<Dictionary> details;
};
struct Url : Object {
  std::string path;
};
struct Data : Object {
  std::string content;
};

std::string text(const Object* string);
String* string(const std::string& text);  // +0
String* immortal_string(const char* text);
ErrorObject* make_error(const char* domain, int code, const std::string& message);  // +0
void set_error(Object** out, const char* domain, int code, const std::string& message);
// What a behaviour holds for the next caller alone: one of several threads gets it.
template <typename T>
T taken(T& one_shot) {
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(one_shot, T());
}
// An exception of Objective-C, which a C++ program catches with (...) alone.
void raise_if_told();
// What encoders() and explained() tell begins anew.
void forget_counts();
Class root_class();

void register_foundation();
void register_libraries();
void register_pipelines();
void register_commands();
void register_device();

}  // namespace metal_double
