// Lambdas of MSL 3.2, each in a form of its own; i is the thread.
#include <metal_stdlib>
using namespace metal;
constant int given [[function_constant(0)]];
constant int derived = given + 1;
struct Pair { int a, b; };
struct Counter {
  int from;
  int by_this(int x) { auto f = [this](int y) { return from + y; }; return f(x); }
  int by_all(int x) const { auto f = [=](int y) { return from + y; }; return f(x); }
  int by_copy(int x) const { auto f = [*this](int y) { return from + y; }; return f(x); }
};
template <typename F> int apply(F f, int x) { return f(x); }
template <typename F> int apply_reference(thread const F& f, int x) { return f(x); }
template <typename F> int apply_forwarded(thread F&& f, int x) { return f(x); }
template <typename F, typename... A> auto call(F f, A... a) { return f(a...); }
template <typename... A> int total(A... a) { return (a + ...); }
template <typename T> T scaled(T by) { auto f = [&](T x) { return by * x; }; return f(T(3)); }
int through_pointer(int (*f)(int), int x) { return f(x); }
auto adder(int a) { return [a](int x) { return a + x; }; }
// In constant memory, at namespace scope and of a class.
constant auto plus_four = [](float x) { return x + 4; };
constexpr constant auto size = [](int x) -> int { if (x) return x + 4; return 0; };
static constant const auto generic_sum{[](auto x, auto y) { return x + y; }};
constant auto chained = [](float x) { return plus_four(x) - 1; }, renamed_chain = chained;
constant auto with_constant = [](int x) { return x + derived; };
constant auto writes = [](device float* p, thread int& x, int by = 4) { *p = x += by; };
namespace names { constant auto vectors = [](float4 x) { return x.w + 4; }; }
struct Holds { static constexpr constant auto f = [](float x) { return x + 4; }; };
template <float (*F)(float)> float pointed(float x) { return F(x); }
int doubled(thread int&& x) { return 2 * x; }

kernel void lambdas(device float* out [[buffer(0)]], uint i [[thread_position_in_threadgroup]],
                    uint n [[threads_per_threadgroup]]) {
  threadgroup float shared[40];
  int k = 0, a = int(i), b = 1;
  auto put = [&, out](float x) { out[n * k++ + i] = x; };
  auto by_value = [a](int x) { return a + x; };
  auto by_all = [=](int x) { return a * 2 + x; };
  auto by_reference = [&a](int x) { a += x; };
  by_reference(10);
  put(a); put(by_value(1)); put(by_all(1));                                  // i + 10, i + 1, 2i + 1
  auto mixed = [=, &b](int x) { b += a; return x; };
  put(mixed(7)); put(b);                                                     // 7, i + 11
  auto counting = [a](int x) mutable { a += x; return a; };
  put(counting(1)); put(counting(1)); put(a);                                // i + 11, i + 12, i + 10
  auto generic = [](auto x, auto y) { return x + y; };
  put(generic(2, 0.5f)); put(generic(half(1), half(2)));                     // 2.5, 3
  auto trailing = [](float x) -> int { return x; };
  put(trailing(5.75f));                                                      // 5
  auto renamed = [c = a + 1, &d = b](int x) { d = x; return c; };
  put(renamed(3)); put(b);                                                   // i + 11, 3
  put([&] { return a; }());                                                  // i + 10
  put(apply([=](int x) { return a + x; }, 1)); put(apply_reference(by_value, 2));   // i + 11, i + 2
  put(apply_forwarded([=](int x) { return a - x; }, 1)); put(apply_forwarded(by_value, 3));  // i + 9, i + 3
  put(adder(a)(4));                                                          // i + 14
  auto curried = [](int x) { return [x](int y) { return 10 * x + y; }; };
  put(curried(a)(4));                                                        // 10 (i + 10) + 4
  auto nested = [&](int x) { auto inner = [&](int y) { return a * y; }; return inner(x) + 1; };
  put(nested(2));                                                            // 2i + 21
  constexpr auto next = [](int x) { return x + 1; };
  constexpr int four = next(3);
  int array[four] = {1, 2, 3, 4};
  put(four); put([=](int x) { return array[x]; }(int(i) & 3));               // 4, 1 + i mod 4
  auto place = [&](int x) -> thread int& { return array[x]; };
  place(2) = 9; put(array[2]);                                               // 9
  auto fill = [&](float x) { shared[i] = x; };
  fill(2 * i); threadgroup_barrier(mem_flags::mem_threadgroup);
  put(shared[n - 1 - i]);                                                    // 2 (n - 1 - i)
  float4 v(1, 2, 3, 4);
  put([=](int x) { return v[x] + v.x; }(int(i) & 3));                        // 2 + i mod 4
  put([](float x) { return float4(x, 2 * x, 0, 0); }(i).y);                  // 2i
  Counter counter = {int(i)};
  put(counter.by_this(1)); put(counter.by_all(2)); put(counter.by_copy(3));  // i + 1, i + 2, i + 3
  auto raise = [](thread int& x, thread auto& y) { x += 3; y += 0.5f; };
  float y = 1; raise(b, y);
  put(b); put(y);                                                            // 6, 1.5
  float sum = 0;
  for (int j = 0; j < 3; j++) sum += [=](int x) { return i + x; }(j);
  put(sum);                                                                  // 3i + 3
  decltype(by_value) same = by_value;
  put(same(5));                                                              // i + 5
  put(through_pointer([](int x) { return x + 2; }, 3));                      // 5
  put(call([](int x, float z) { return x * z; }, 3, 0.5f));                  // 1.5
  put([](auto... x) { return total(x...); }(1, 2, int(i)));                  // i + 3
  put([](auto self, int x) -> int { return x ? x + self(self, x - 1) : 0; }([](auto, int x) { return x; }, 4));  // 7
  put(scaled(2.0f)); put(scaled(int(i)));                                    // 6, 3i
  put([](int x, int z = 3) { return x - z; }(int(i)));                       // i - 3
  put([](int x) { return x + derived; }(2));                                 // given + 3
  Pair pair = [](int x) { return Pair{x, 3}; }(a);
  put(pair.a - pair.b);                                                      // i + 7
  put([](float x) { return simd_max(x); }(i < 32 ? i : 0));                  // the simdgroup's most
  put(doubled(int(i) + 1));                                                  // 2i + 2
  put(plus_four(i)); put(size(1)); put(generic_sum(1.5f, 2)); put(renamed_chain(i));  // i + 4, 5, 3.5, i + 3
  put(apply(plus_four, 2)); put(apply_reference(plus_four, 2)); put(through_pointer(size, 3));  // 6, 6, 7
  put(pointed<plus_four>(3)); put(names::vectors(float4(i))); put(Holds::f(i));  // 7, i + 4, i + 4
  int sized[size(0) + 1] = {3};
  auto copied = plus_four;
  auto captured = [=](float x) { return plus_four(x); };
  put(sized[0]); put(copied(1)); put(captured(2)); put(with_constant(1));    // 3, 5, 6, given + 2
  int raised = 1;
  writes(out + n * k++ + i, raised); put(raised);                            // 5, 5
}
