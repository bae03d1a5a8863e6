#include "host.h"

#include <sys/utsname.h>

#include <cstdint>

#include "sha256.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace attnproto {
namespace {

#if defined(__APPLE__)
std::string system_fact(const char* name) {
  char text[256] = "";
  size_t bytes = sizeof text - 1;
  return sysctlbyname(name, text, &bytes, nullptr, 0) == 0 ? text : "";
}
#endif

std::string abilities() {
  std::string found;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d))  // b holds the number of the core
    for (unsigned word : {a, c, d}) found += std::to_string(word) + " ";
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
    for (unsigned word : {b, c, d}) found += std::to_string(word) + " ";
#elif defined(__APPLE__)
  found = system_fact("machdep.cpu.brand_string");
#elif defined(__aarch64__)
  for (unsigned long what : {AT_HWCAP, AT_HWCAP2}) found += std::to_string(getauxval(what)) + " ";
#endif
  return found;
}

}  // namespace

std::string host_processor() {
  utsname names{};
  uname(&names);
  return std::string(names.machine) + "-" + sha256(abilities()).substr(0, 12);
}

std::string host_system() {
  utsname names{};
  uname(&names);
  std::string release = names.release;
#if defined(__APPLE__)
  release = system_fact("kern.osproductversion");
#endif
  return std::string(names.sysname) + " " + release;
}

}  // namespace attnproto
