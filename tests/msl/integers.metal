// Every function of integers; vectors against their elements.
template <typename T, typename R>
bool each(vec<T, 3> found, R first, R second) {
  return found.x == first && found.y == second && found.z == first;
}
template <typename T>
kernel void integers(device const T* p [[buffer(0)]], device const T* q [[buffer(1)]],
                     device T* out [[buffer(2)]], device uint* differ [[buffer(3)]],
                     uint i [[thread_position_in_grid]]) {
  T x = p[i], y = q[i], z = p[i / 2];
  vec<T, 3> a(x, y, x);
  vec<T, 3> b(y, x, y);
  vec<T, 3> c(z, z, z);
  device T* o = out + 24 * i;
  uint bad = 0;
#define ONE(k, f) o[k] = f(x); bad |= !each(f(a), f(x), f(y));
#define TWO(k, f) o[k] = f(x, y); bad |= !each(f(a, b), f(x, y), f(y, x));
#define THREE(k, f) o[k] = f(x, y, z); bad |= !each(f(a, b, c), f(x, y, z), f(y, x, z));
  ONE(0, abs) ONE(1, clz) ONE(2, ctz) ONE(3, popcount) ONE(4, reverse_bits)
  TWO(5, absdiff) TWO(6, addsat) TWO(7, hadd) TWO(8, max) TWO(9, min) TWO(10, mulhi)
  TWO(11, rhadd) TWO(12, rotate) TWO(13, subsat)
  THREE(14, clamp) THREE(15, madhi) THREE(16, madsat) THREE(17, max3) THREE(18, median3)
  THREE(19, min3)
  uint offset = uint(i) % (8 * sizeof(T) + 1), bits = uint(i / 7) % (8 * sizeof(T) + 1 - offset);
  o[20] = extract_bits(x, offset, bits);
  o[21] = insert_bits(x, y, offset, bits);
  bad |= !each(extract_bits(a, offset, bits), o[20], extract_bits(y, offset, bits));
  bad |= !each(insert_bits(a, b, offset, bits), o[21], insert_bits(y, x, offset, bits));
  o[22] = mul24(x & T(63), y & T(1));
  o[23] = mad24(x & T(63), y & T(1), T(3));
  // A difference has the type that holds it.
  bad |= !is_same<decltype(absdiff(x, y)), make_unsigned_t<T>>::value;
  bad |= !each(max(a, y), max(x, y), y);
  bad |= !each(clamp(a, z, y), clamp(x, z, y), clamp(y, z, y));
  differ[i] = bad;
}
#define INSTANCE(T) template [[host_name("integers_" #T)]] kernel decltype(integers<T>) integers<T>;
INSTANCE(char) INSTANCE(uchar) INSTANCE(short) INSTANCE(ushort)
INSTANCE(int) INSTANCE(uint) INSTANCE(long) INSTANCE(ulong)
