#include "runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace metal_double {
namespace {

struct Pool : Object {
  std::vector<Object*> held;
  bool drained = false;
};

struct State {
  std::recursive_mutex mutex;
  std::map<std::string, Class> classes;
  std::set<std::string> selectors;
  std::vector<std::string> violations, warnings;
  std::map<Object*, uint32_t> live;
  // Freed objects stay as zombies, so that a late message can be named.
  std::unordered_map<Object*, Class> graves;
  uint32_t serial = 0;
  Behaviour behaviour;
  std::string math;
  std::shared_ptr<attnproto::Device> executor;
};

// Never destroyed: objects outlive main.
State& state() {
  static State* one = new State;
  return *one;
}

using Lock = std::lock_guard<std::recursive_mutex>;
thread_local std::vector<Pool*> pools;
objc_class zombie{};
std::atomic<int> working{0};

std::string format_text(const char* format, va_list arguments) {
  char buffer[1024];
  vsnprintf(buffer, sizeof buffer, format, arguments);
  return buffer;
}

void drain(Pool* pool) {
  if (pool->drained) return;
  if (std::find(pools.begin(), pools.end(), pool) == pools.end()) {
    violation("autorelease pool drained on a thread that does not own it");
    return;
  }
  for (bool last = false; !last;) {
    Pool* top = pools.back();
    while (!top->held.empty()) {
      Object* object = top->held.back();
      top->held.pop_back();
      if (object->isa == &zombie) {
        violation("pool releases deallocated %s (over-release)", describe(object).c_str());
      } else {
        release(object);
      }
    }
    top->drained = true;
    pools.pop_back();
    last = top == pool;
  }
}

const Method* find_method(Class type, Sel selector) {
  for (; type; type = type->parent) {
    auto found = type->methods->find(selector);
    if (found != type->methods->end()) return &found->second;
  }
  return nullptr;
}

uintptr_t ignored(Object*, Sel) { return 0; }

void boot() {
  static bool done = false;
  Lock lock(state().mutex);
  if (done) return;
  done = true;
  register_foundation();
  register_libraries();
  register_pipelines();
  register_commands();
  register_device();
}

}  // namespace

// metal-cpp's tables look classes up while they are constructed.
__attribute__((constructor(101))) static void boot_early() { boot(); }

extern "C" objc_class __CFConstantStringClassReference;

static bool is_constant(const Object* object) {
  return object->isa == &__CFConstantStringClassReference || object->immortal;
}

Behaviour& behaviour() { return state().behaviour; }
void use(std::shared_ptr<attnproto::Device> device) { state().executor = std::move(device); }
std::shared_ptr<attnproto::Device> executor() { return state().executor; }

std::vector<std::string> violations() {
  Lock lock(state().mutex);
  return state().violations;
}

std::vector<std::string> warnings() {
  Lock lock(state().mutex);
  return state().warnings;
}

std::vector<std::string> live() {
  for (int i = 0; working > 0 && i < 5000; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  Lock lock(state().mutex);
  std::vector<std::string> names;
  for (auto& [object, serial] : state().live)
    if (!object->immortal)
      names.push_back(describe(object) + " count " + std::to_string(object->count.load()));
  return names;
}

void reset() {
  Lock lock(state().mutex);
  state().violations.clear();
  state().warnings.clear();
  state().behaviour = {};
  forget_counts();
}

void work_begins() { ++working; }
void work_ends() { --working; }
int in_flight() { return working; }

void note_math(const std::string& math) {
  Lock lock(state().mutex);
  state().math = math;
}
std::string last_math() {
  Lock lock(state().mutex);
  return state().math;
}

void violation(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string message = format_text(format, arguments);
  va_end(arguments);
  Lock lock(state().mutex);
  state().violations.push_back(message);
}

void warning(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const std::string message = format_text(format, arguments);
  va_end(arguments);
  Lock lock(state().mutex);
  state().warnings.push_back(message);
}

size_t violation_count() {
  Lock lock(state().mutex);
  return state().violations.size();
}

Sel intern(const char* name) {
  Lock lock(state().mutex);
  return state().selectors.insert(name).first->c_str();
}

Class define_class(const char* name, Class parent) {
  Lock lock(state().mutex);
  auto table = [] { return new std::unordered_map<Sel, Method>; };
  auto* meta =
      new objc_class{nullptr, parent ? parent->isa : nullptr, name, nullptr, nullptr, table()};
  auto* type = new objc_class{meta, parent, name, nullptr, nullptr, table()};
  return state().classes[name] = type;
}

Class root_class() {
  Lock lock(state().mutex);
  return state().classes.at("NSObject");
}

void track(Object* object) {
  Lock lock(state().mutex);
  object->serial = ++state().serial;
  state().live[object] = object->serial;
  state().graves.erase(object);
}

std::string describe(const Object* object) {
  Lock lock(state().mutex);
  Class type = object->isa;
  if (type == &zombie) type = state().graves.at(const_cast<Object*>(object));
  return std::string(type->name) + "#" + std::to_string(object->serial);
}

Object* retain(Object* object) {
  if (!is_constant(object)) ++object->count;
  return object;
}

void release(Object* object) {
  if (is_constant(object) || --object->count > 0) return;
  Class type = object->isa;
  {
    Lock lock(state().mutex);
    state().live.erase(object);
  }
  type->destroy(object);
  Lock lock(state().mutex);
  state().graves[object] = type;
  object->isa = &zombie;
}

Object* autorelease(Object* object) {
  if (is_constant(object)) return object;
  if (pools.empty()) {
    violation("%s autoreleased with no pool in place: it leaks", describe(object).c_str());
  } else {
    pools.back()->held.push_back(object);
  }
  return object;
}

Object* push_pool() {
  Pool* pool = make<Pool>();
  pools.push_back(pool);
  return pool;
}

void pop_pool(Object* pool) {
  drain(static_cast<Pool*>(pool));
  release(pool);
}

void register_root() {
  struct Root : Object {};
  Type<Root>("NSObject", nullptr)
      .method("retain", [](Object* self, Sel) { return retain(self); })
      .method("release", [](Object* self, Sel) { release(self); })
      .method("autorelease", [](Object* self, Sel) { return autorelease(self); })
      .method("retainCount", [](Object* self, Sel) { return UInt(self->count.load()); })
      .method("init", [](Object* self, Sel) { return self; })
      .method("description", [](Object* self, Sel) { return string(describe(self)); })
      .method("respondsToSelector:",
              [](Object* self, Sel, Sel asked) {
                const Method* method = find_method(self->isa, asked);
                return method && method->since <= behaviour().macos;
              })
      .method("methodSignatureForSelector:",
              [](Object* self, Sel, Sel asked) -> const void* {
                const Method* method = find_method(self->isa, asked);
                return method && method->since <= behaviour().macos ? method : nullptr;
              })
      .class_method("alloc", [](Class type, Sel) -> Object* {
        if (!type->create) {
          violation("+[%s alloc]: Metal makes these itself", type->name);
          return nullptr;
        }
        return type->create();
      });
  Type<Pool>("NSAutoreleasePool", root_class())
      .method("init",
              [](Pool* self, Sel) {
                pools.push_back(self);
                return self;
              })
      .method("drain", [](Pool* self, Sel) { pop_pool(self); })
      .method("release", [](Pool* self, Sel) { pop_pool(self); });
}

extern "C" {

void* metal_double_lookup(Object* object, Sel selector) {
  Class type = object->isa;
  if (type == &zombie) {
    violation("-[%s %s] sent to a deallocated object", describe(object).c_str(), selector);
    return reinterpret_cast<void*>(ignored);
  }
  // Whatever is autoreleased on the way would leak: each entry of the device opens a pool.
  if (pools.empty() && strcmp(type->name, "NSAutoreleasePool") != 0 &&
      strcmp(selector, "retain") != 0)
    violation("-[%s %s] sent with no pool in place", describe(object).c_str(), selector);
  const Method* method = find_method(type, selector);
  if (!method) {
    violation("-[%s %s]: unrecognized selector", type->name, selector);
    return reinterpret_cast<void*>(ignored);
  }
  if (method->since > behaviour().macos) {
    violation("-[%s %s]: unrecognized selector on macOS %d, it came with %d", type->name, selector,
              behaviour().macos, method->since);
    return reinterpret_cast<void*>(ignored);
  }
  return method->function;
}

void metal_double_nil(Sel selector) {
  // NS::SharedPtr releases and retains nothing, and Objective-C allows it.
  if (strcmp(selector, "release") != 0 && strcmp(selector, "retain") != 0)
    violation("message %s sent to nil", selector);
}

SEL sel_registerName(const char* name) {
  return reinterpret_cast<SEL>(const_cast<char*>(intern(name)));
}
const char* sel_getName(SEL selector) { return reinterpret_cast<const char*>(selector); }

Class objc_lookUpClass(const char* name) {
  boot();
  Lock lock(state().mutex);
  auto found = state().classes.find(name);
  return found == state().classes.end() ? nullptr : found->second;
}
Class objc_getClass(const char* name) { return objc_lookUpClass(name); }
Protocol* objc_getProtocol(const char*) { return nullptr; }

}  // extern "C"

}  // namespace metal_double
