// Apple's ownership rules in a few types: alloc, new, copy and Create return an
// object that is ours (NS::TransferPtr); all else dies with the pool around it.
#pragma once

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <exception>
#include <string>
#include <vector>

#include "error.h"

namespace attnproto::metal {

template <class T>
using Owned = NS::SharedPtr<T>;

// Every entry from outside opens one: threads we did not start have no pool,
// and whatever Metal autoreleases there would leak.
class Pool {
 public:
  Pool() : pool_(NS::AutoreleasePool::alloc()->init()) {}
  ~Pool() { pool_->release(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

// Lets go of objects inside a pool: what Metal autoreleases while it frees them would leak.
template <class... T>
void give_back(T&... held) {
  Pool pool;
  ((held = T()), ...);
}

template <class T>
Owned<T> make() {
  return NS::TransferPtr(T::alloc()->init());
}

// metal-cpp never asks whether a selector exists on this macOS: calling a newer one is a crash.
bool responds(const NS::Object* object, const char* selector);

// The bytes of an NSData. metal-cpp only has mutableBytes, which the immutable
// NSData that Metal returns does not answer to.
const void* data_bytes(const NS::Data* data);

NS::String* ns(const std::string& text);
std::string text(const NS::String* string);
std::string describe(const NS::Error* error);
// The compiler is a process of its own, and may die without the text being at fault.
bool lost_compiler(const NS::Error* error);

// What the compiler makes, asked once more when the compiler was lost.
template <class Ask>
auto compiled(NS::Error*& error, Ask ask) {
  auto made = NS::TransferPtr(ask(&error));
  if (!made && lost_compiler(error)) {
    error = nullptr;
    made = NS::TransferPtr(ask(&error));
  }
  return made;
}

// Metal answers some mistakes with an exception of Objective-C, which would end the process. From
// the first device on, what was raised last on a thread is remembered.
void remember_exceptions();
[[noreturn]] void refuse_exception(const char* where);

template <class Work>
auto caught(const char* where, Work work) {
  try {
    return work();
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    refuse_exception(where);
  }
}

NS::URL* file_url(const std::string& path);

inline const NS::Object* plain(const NS::Object* object) { return object; }
template <class T>
const NS::Object* plain(const Owned<T>& object) {
  return object.get();
}

template <class T>
NS::Array* array(const std::vector<T>& objects) {
  std::vector<const NS::Object*> pointers;
  for (const T& object : objects) pointers.push_back(plain(object));
  return pointers.empty() ? NS::Array::array() : NS::Array::array(pointers.data(), pointers.size());
}

}  // namespace attnproto::metal
