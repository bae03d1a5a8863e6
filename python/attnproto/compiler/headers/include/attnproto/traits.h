// metal_type_traits, as far as many kernels ask; the rest is in more_traits.h.
namespace metal {

template <class T, T V>
struct integral_constant {
  static constexpr __constant T value = V;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator T() const __private { return V; }
  constexpr operator T() const { return V; }
  constexpr T operator()() const { return V; }
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;

template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F>
struct conditional {
  typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
  typedef F type;
};
template <bool B, class T, class F>
using conditional_t = typename conditional<B, T, F>::type;

template <class T>
struct remove_const {
  typedef T type;
};
template <class T>
struct remove_const<const T> {
  typedef T type;
};
template <class T>
struct remove_volatile {
  typedef T type;
};
template <class T>
struct remove_volatile<volatile T> {
  typedef T type;
};
template <class T>
struct remove_addrspace {
  typedef T type;
};
template <class T>
struct remove_addrspace<__global T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__local T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__constant T> {
  typedef T type;
};
template <class T>
struct remove_addrspace<__private T> {
  typedef T type;
};
template <class T>
struct remove_reference {
  typedef T type;
};
template <class T>
struct remove_reference<T&> {
  typedef T type;
};
template <class T>
struct remove_pointer {
  typedef T type;
};
template <class T>
struct remove_pointer<T*> {
  typedef T type;
};
template <class T>
using remove_const_t = typename remove_const<T>::type;
template <class T>
using remove_addrspace_t = remove_const_t<typename remove_addrspace<remove_const_t<T>>::type>;
template <class T>
struct remove_cv {
  typedef remove_addrspace_t<typename remove_volatile<remove_const_t<T>>::type> type;
};
template <class T>
using remove_cv_t = typename remove_cv<T>::type;
template <class T>
using remove_reference_t = typename remove_reference<T>::type;
template <class T>
using remove_pointer_t = typename remove_pointer<T>::type;
template <class T>
using decay_t = remove_cv_t<remove_reference_t<T>>;

template <class A, class B>
struct is_same : bool_constant<__is_same(A, B)> {};
template <class T>
constexpr __constant bool attn_is_real =
    __is_floating_point(T) || __is_same(remove_cv_t<T>, half) || __is_same(remove_cv_t<T>, bfloat);
template <class T>
struct is_integral : bool_constant<__is_integral(T)> {};
template <class T>
struct is_floating_point : bool_constant<attn_is_real<T>> {};
template <class T>
struct is_arithmetic : bool_constant<__is_integral(T) || attn_is_real<T>> {};
template <class T>
struct is_signed : bool_constant<__is_signed(T) || attn_is_real<T>> {};
template <class T>
struct is_unsigned : bool_constant<__is_unsigned(T)> {};
template <class T>
struct is_pointer : bool_constant<__is_pointer(T)> {};
template <class T>
struct is_reference : bool_constant<__is_reference(T)> {};
template <class T>
struct is_const : bool_constant<__is_const(T)> {};
template <class T>
struct is_enum : bool_constant<__is_enum(T)> {};
template <class A, class B>
struct is_convertible : bool_constant<__is_convertible_to(A, B)> {};
#define ATTN_TRAIT(name) \
  template <class T>     \
  constexpr __constant bool name##_v = name<T>::value;
ATTN_TRAIT(is_integral)
ATTN_TRAIT(is_floating_point)
ATTN_TRAIT(is_arithmetic)
ATTN_TRAIT(is_signed)
ATTN_TRAIT(is_unsigned)
ATTN_TRAIT(is_pointer)
ATTN_TRAIT(is_reference)
ATTN_TRAIT(is_const)
ATTN_TRAIT(is_enum)
#undef ATTN_TRAIT
template <class A, class B>
constexpr __constant bool is_same_v = __is_same(A, B);
template <class A, class B>
constexpr __constant bool is_convertible_v = __is_convertible_to(A, B);

template <int Bytes, bool Signed>
struct attn_integer;
template <class T>
struct attn_type {
  typedef T type;
};
template <>
struct attn_integer<1, true> : attn_type<char> {};
template <>
struct attn_integer<2, true> : attn_type<short> {};
template <>
struct attn_integer<4, true> : attn_type<int> {};
template <>
struct attn_integer<8, true> : attn_type<long> {};
template <>
struct attn_integer<1, false> : attn_type<uchar> {};
template <>
struct attn_integer<2, false> : attn_type<ushort> {};
template <>
struct attn_integer<4, false> : attn_type<uint> {};
template <>
struct attn_integer<8, false> : attn_type<ulong> {};
template <class T>
struct make_unsigned : attn_integer<sizeof(T), false> {};
template <class T>
struct make_signed : attn_integer<sizeof(T), true> {};
template <class T>
using make_unsigned_t = typename make_unsigned<T>::type;
template <class T>
using make_signed_t = typename make_signed<T>::type;

template <class... T>
struct _disjunction : bool_constant<(T::value || ...)> {};
template <class... T>
struct _conjunction : bool_constant<(T::value && ...)> {};
template <class T>
struct _negation : bool_constant<!T::value> {};

}  // namespace metal
