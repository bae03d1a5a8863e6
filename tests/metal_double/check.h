// Tests as named sentences; a failed expectation says where and goes on.
#pragma once

#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "double.h"

namespace metal_double {

struct Test {
  const char* sentence;
  std::function<void()> run;
};
inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}
inline int failures = 0;

struct Register {
  Register(const char* sentence, std::function<void()> run) { tests().push_back({sentence, run}); }
};

inline void expect(bool truth, const char* what, int line) {
  if (truth) return;
  ++failures;
  printf("    line %d: not so: %s\n", line, what);
}

inline bool contains(const std::vector<std::string>& all, const std::string& part) {
  for (const std::string& one : all)
    if (one.find(part) != std::string::npos) return true;
  return false;
}

inline void print_all(const char* title, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) printf("    %s: %s\n", title, line.c_str());
}

// Runs the tests whose sentence holds the first argument; returns the failures.
inline int run_tests(int argc, char** argv, const std::function<void()>& before,
                     const std::function<void()>& after) {
  int ran = 0, failed = 0;
  for (const Test& test : tests()) {
    if (argc > 1 && std::string(test.sentence).find(argv[1]) == std::string::npos) continue;
    failures = 0;
    ++ran;
    before();
    try {
      test.run();
    } catch (const std::exception& error) {
      expect(false, error.what(), 0);
    }
    after();
    failed += failures != 0;
    printf("%s %s\n", failures ? "FAIL" : "ok  ", test.sentence);
    fflush(stdout);
  }
  printf("%d of %d passed\n", ran - failed, ran);
  return failed != 0 || ran == 0;
}

}  // namespace metal_double

#define EXPECT(truth) ::metal_double::expect(bool(truth), #truth, __LINE__)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEST(sentence)                                                                    \
  static void JOIN(test_at_, __LINE__)();                                                 \
  static ::metal_double::Register JOIN(register_at_, __LINE__)(sentence,                  \
                                                               JOIN(test_at_, __LINE__)); \
  static void JOIN(test_at_, __LINE__)()
