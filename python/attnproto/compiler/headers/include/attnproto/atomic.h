// metal_atomic.
namespace metal {

enum memory_order {
  memory_order_relaxed = 0,
  memory_order_acquire = 2,
  memory_order_release = 3,
  memory_order_acq_rel = 4,
  memory_order_seq_cst = 5
};
// Kernels' texts name the system's scope by its number, 3.
enum thread_scope {
  thread_scope_thread = 0,
  thread_scope_threadgroup = 1,
  thread_scope_device = 2,
  thread_scope_simdgroup = 4
};
// Orders all memory, for the whole machine: never less than what is asked for.
ATTN_INLINE void atomic_thread_fence(mem_flags, memory_order order,
                                     thread_scope = thread_scope_device) {
  if (order == memory_order_relaxed) return;
  if (order == memory_order_seq_cst) __atomic_thread_fence(__ATOMIC_SEQ_CST);
  else __atomic_thread_fence(__ATOMIC_ACQ_REL);
}
template <class T>
struct atomic {
  static_assert(__is_same(T, int) || __is_same(T, uint) || __is_same(T, bool) ||
                    __is_same(T, ulong) || __is_same(T, float),
                "an atomic is of int, uint, bool, ulong or float");
  T value;
};
template <class T>
using _atomic = atomic<T>;
#ifdef ATTN_LINT
template <>
constexpr __constant bool attn_is_atomic_float<atomic<float>> = true;
#endif

// Which types an operation is for; a float only in device memory.
#define ATTN_HAS(types, space, T)                                                                \
  ATTN_SAYS((metal::attn_has_no_atomic<metal::attn_##types,                                      \
                                       __is_same(space int*, __local int*), T>()),               \
            "atomic-operation")
// Through integers of the same size: clang's builtins take no others by value, and
// by pointer only pointers of one address space.
#define ATTN_ATOMICS(space)                                                                      \
  template <class T>                                                                             \
  ATTN_HAS(atomics, space, T)                                                                    \
  ATTN_INLINE T atomic_load_explicit(const volatile space atomic<T>* p, memory_order) {          \
    typedef make_unsigned_t<T> U;                                                                \
    return as_type<T>((U)__atomic_load_n((const volatile space U*)&p->value, __ATOMIC_RELAXED)); \
  }                                                                                              \
  template <class T, class V>                                                                    \
  ATTN_HAS(atomics, space, T)                                                                    \
  ATTN_INLINE void atomic_store_explicit(volatile space atomic<T>* p, V value, memory_order) {   \
    typedef make_unsigned_t<T> U;                                                                \
    __atomic_store_n((volatile space U*)&p->value, as_type<U>((T)value), __ATOMIC_RELAXED);      \
  }                                                                                              \
  template <class T, class V>                                                                    \
  ATTN_HAS(atomics, space, T)                                                                    \
  ATTN_INLINE T atomic_exchange_explicit(volatile space atomic<T>* p, V value, memory_order) {   \
    typedef make_unsigned_t<T> U;                                                                \
    return as_type<T>((U)__atomic_exchange_n((volatile space U*)&p->value, as_type<U>((T)value), \
                                         __ATOMIC_RELAXED));                                     \
  }                                                                                              \
  template <class T, class V>                                                                    \
  ATTN_HAS(atomics, space, T)                                                                    \
  ATTN_INLINE bool atomic_compare_exchange_weak_explicit(                                        \
      volatile space atomic<T>* p, __private T* expected, V desired, memory_order, memory_order) { \
    typedef make_unsigned_t<T> U;                                                                \
    U before = as_type<U>(*expected);                                                            \
    U found = __sync_val_compare_and_swap((volatile space U*)&p->value, before,                  \
                                      as_type<U>((T)desired));                                   \
    *expected = as_type<T>(found);                                                               \
    return found == before;                                                                      \
  }                                                                                              \
  ATTN_FETCH(space, add, counters, old + operand)                                                \
  ATTN_FETCH(space, sub, counters, old - operand)                                                \
  ATTN_FETCH(space, max, words, max(old, operand))                                               \
  ATTN_FETCH(space, min, words, min(old, operand))                                               \
  ATTN_FETCH(space, or, words, old | operand)                                                    \
  ATTN_FETCH(space, and, words, old & operand)                                                   \
  ATTN_FETCH(space, xor, words, old ^ operand)
#define ATTN_FETCH(space, name, types, expression)                                               \
  template <class T, class U>                                                                    \
  ATTN_HAS(types, space, T)                                                                      \
  ATTN_INLINE T atomic_fetch_##name##_explicit(volatile space atomic<T>* p, U value,             \
                                               memory_order order) {                             \
    T operand = (T)value, old = atomic_load_explicit(p, order);                                  \
    while (!atomic_compare_exchange_weak_explicit(p, &old, (T)(expression), order, order)) {     \
    }                                                                                            \
    return old;                                                                                  \
  }
ATTN_ATOMICS(__global)
ATTN_ATOMICS(__local)
#undef ATTN_FETCH
#undef ATTN_HAS
#undef ATTN_ATOMICS

// The two of 64 bits, which return nothing.
ATTN_INLINE void atomic_max_explicit(volatile __global atomic<ulong>* p, ulong value,
                                     memory_order order) {
  atomic_fetch_max_explicit(p, value, order);
}
ATTN_INLINE void atomic_min_explicit(volatile __global atomic<ulong>* p, ulong value,
                                     memory_order order) {
  atomic_fetch_min_explicit(p, value, order);
}

}  // namespace metal

// What the host binds to an argument of atomics.
template <class T>
struct attn_number<metal::atomic<T>> : attn_number<T> {};
