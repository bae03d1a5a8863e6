// Static methods as values: arguments of templates and functions, their defaults, pointers of every
// kind. Each value written is 5.
#include <metal_stdlib>
using namespace metal;
typedef float (*Op)(float);
using Function = float(float);
template <typename T> using Of = T (*)(T);
struct S {
  static float three(float x) { return x + 3; }
  static float f(float x) { return x + 4; }
  static int f(int x) { return x; }
  template <typename T> static T added(T x) { return x + T(4); }
  template <int N, typename T> static T plus(T x) { return x + N; }
  static float outside(float x);
  static void put(device float* p, thread float& x) { *p = x + 4; }
  template <float (*F)(float)> static float call(float x) { return F(x); }
  static float own(float x) { return call<outside>(x); }
  struct Inner { static constexpr float f(float x) { return x + 4; } };
};
float S::outside(float x) { return x + 4; }
template <typename T> struct Both {
  static T f(T x) { return x + T(4); }
  static T outside(T x);
  template <T (*F)(T)> static T call(T x) { return F(x); }
  struct Inner { static T f(T x) { return x + T(4); } };
};
template <typename T> T Both<T>::outside(T x) { return x + T(4); }
template <> struct Both<int> { static int f(int x) { return x + 4; } };
namespace names { struct S { static float f(float x) { return x + 4; } }; }
using Other = names::S;

template <float (*F)(float)> float pointed(float x) { return F(x); }
template <float (&F)(float)> float referred(float x) { return F(x); }
template <Op F> float aliased(float x) { return F(x); }
template <Function F> float typed(float x) { return F(x); }
template <auto F> float any(float x) { return F(x); }
template <float (*... F)(float)> float all(float x) { return (F(x) + ...); }
template <typename T, T (*F)(T)> T dependent(T x) { return F(x); }
template <typename T, Of<T> F> T dependent_alias(T x) { return F(x); }
template <float (*F)(float) = S::f> float by_default(float x) { return F(x); }
template <typename T, T (*F)(T) = Both<T>::f> T by_dependent_default(T x) { return F(x); }
template <float (*F)(float) = S::f> struct Class { static float go(float x) { return F(x); } };
template <typename T> T instance(T x) { return dependent<T, Both<T>::f>(x); }
template <typename T> T member(T x) { return Both<T>::template call<Both<T>::f>(x); }
template <typename C> float of_class(float x) { return pointed<C::f>(x); }
template <void (*F)(device float*, thread float&)> void put(device float* p, float x) { F(p, x); }
template <float (*)(float)> struct Unnamed { float x = 5; };
float argument(float (*f)(float), float x) { return f(x); }
template <typename F> float deduced(F f, float x) { return f(x); }
Op chosen(bool three) { if (three) return S::three; return &S::f; }
struct Holder { Op op; };
constant Op held = S::f;
constexpr constant Op table[2] = {S::three, S::f};
constexpr constant Op known = S::f;
float (*constant placed)(float) = S::f;

kernel void methods(device float* o [[buffer(0)]], uint one [[threads_per_threadgroup]]) {
  constexpr float (*local)(float) = S::f;
  constexpr int four = S::Inner::f(0);
  float (*changed)(float) = S::three;
  changed = &S::f;
  Holder holder = {S::f};
  auto plain = S::three;
  *o++ = pointed<S::f>(1); *o++ = pointed<&S::f>(1); *o++ = referred<S::f>(1);
  *o++ = aliased<S::f>(1); *o++ = typed<S::f>(1); *o++ = any<S::three>(2);
  *o++ = all<S::three, &S::f>(-1);
  *o++ = dependent<half, Both<half>::f>(1.0h);
  *o++ = dependent<float4, Both<float4>::f>(float4(1)).w;
  *o++ = dependent_alias<int, Both<int>::f>(1);
  *o++ = by_default(1); *o++ = by_dependent_default(1.0f); *o++ = by_dependent_default(1.0h);
  *o++ = Class<>::go(1); *o++ = Class<Both<float>::f>::go(1);
  *o++ = instance(1); *o++ = instance(1.0h); *o++ = member(1.0h); *o++ = of_class<Other>(1);
  *o++ = pointed<S::added<float>>(1); *o++ = pointed<S::plus<4, float>>(1);
  *o++ = pointed<S::outside>(1); *o++ = pointed<Both<float>::outside>(1);
  *o++ = S::own(1); *o++ = S::call<S::f>(1);
  *o++ = pointed<S::Inner::f>(1); *o++ = pointed<Both<float>::Inner::f>(1);
  *o++ = pointed<names::S::f>(1); *o++ = Unnamed<S::f>().x;
  put<S::put>(o++, 1);
  *o++ = argument(S::f, 1); *o++ = argument(&S::f, 1);
  *o++ = deduced(S::three, 2); *o++ = deduced(&S::three, 2);
  *o++ = chosen(one == 1)(2); *o++ = holder.op(1); *o++ = held(1); *o++ = table[one](1);
  *o++ = pointed<known>(1); *o++ = placed(1); *o++ = local(1); *o++ = changed(1);
  *o++ = plain(2); *o++ = four + 1;
}
template <float (*F)(float)> [[kernel]] void made(device float* o [[buffer(0)]]) { *o = F(1); }
template [[host_name("named")]] kernel void made<S::f>(device float*);
template [[host_name("declared")]] kernel decltype(made<Both<float>::f>) made<Both<float>::f>;
