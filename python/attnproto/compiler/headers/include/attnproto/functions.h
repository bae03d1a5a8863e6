// Calls through a table: what the host binds is how many functions, then their addresses.

namespace metal {
template <class F>
struct visible_function_table;
template <class R, class... A>
struct visible_function_table<R(A...)> {
  const __global ulong* words;
  ATTN_INLINE uint size() const __private { return (uint)words[0]; }
  ATTN_INLINE bool empty() const __private { return words[0] == 0; }
  // No name for its type: clang would put the address space of an object on it.
  ATTN_INLINE auto operator[](uint index) const __private {
    return reinterpret_cast<R (*)(A...)>(words[1 + index]);
  }
};
}  // namespace metal

struct attn_function_table {
  __global void* address;
  template <class F>
  ATTN_INLINE operator metal::visible_function_table<F>() const __private {
    return metal::visible_function_table<F>{(const __global ulong*)address};
  }
};
