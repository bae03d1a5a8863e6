// metal_type_traits: what few kernels ask.
namespace metal {

#define ATTN_TRAIT(name, question)                     \
  template <class T>                                   \
  struct name : bool_constant<question> {};            \
  template <class T>                                   \
  constexpr __constant bool name##_v = name<T>::value;
ATTN_TRAIT(is_void, __is_void(T))
ATTN_TRAIT(is_array, __is_array(T))
ATTN_TRAIT(is_union, __is_union(T))
ATTN_TRAIT(is_class, __is_class(T))
ATTN_TRAIT(is_function, __is_function(T))
ATTN_TRAIT(is_lvalue_reference, __is_lvalue_reference(T))
ATTN_TRAIT(is_rvalue_reference, __is_rvalue_reference(T))
ATTN_TRAIT(is_fundamental, __is_fundamental(T) || attn_is_real<T>)
ATTN_TRAIT(is_scalar, __is_scalar(T) || attn_is_real<T>)
ATTN_TRAIT(is_object, __is_object(T))
ATTN_TRAIT(is_compound, __is_compound(T))
ATTN_TRAIT(is_volatile, __is_volatile(T))
#undef ATTN_TRAIT
// What simdgroup functions take, scalar or vector, by the name that Apple's library has for it.
template <class E>
constexpr __constant bool attn_is_shuffled =
    attn_is_real<E> || (__is_integral(E) && !__is_same(E, bool) && sizeof(E) < 8);
template <class T>
struct __is_valid_simdgroup_type
    : bool_constant<attn_is_shuffled<typename attn_lanes<T>::element>> {};
template <class Base, class T>
struct is_base_of : bool_constant<__is_base_of(Base, T)> {};
template <class Base, class T>
constexpr __constant bool is_base_of_v = __is_base_of(Base, T);
template <class T>
struct underlying_type {
  typedef __underlying_type(T) type;
};
template <class T>
using underlying_type_t = typename underlying_type<T>::type;
template <class T>
struct remove_extent {
  typedef T type;
};
template <class T, size_t N>
struct remove_extent<T[N]> {
  typedef T type;
};
template <class T>
using remove_extent_t = typename remove_extent<T>::type;
template <class T>
struct add_const {
  typedef const T type;
};
template <class T>
using add_const_t = const T;
template <class A, class B>
struct common_type {
  typedef typename attn_common<A, B>::type type;
};
template <class A, class B>
using common_type_t = typename common_type<A, B>::type;
template <class T, T... I>
struct integer_sequence {
  typedef T value_type;
  static constexpr size_t size() { return sizeof...(I); }
};
template <size_t... I>
using index_sequence = integer_sequence<size_t, I...>;
template <class T, T N>
using make_integer_sequence = __make_integer_seq<integer_sequence, T, N>;
template <size_t N>
using make_index_sequence = make_integer_sequence<size_t, N>;
}  // namespace metal
