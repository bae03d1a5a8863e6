// fast:: and precise:: are one here, within the bounds of both, but for one function.
namespace metal {

#define ATTN_ACCURACY(space)                                                                     \
  namespace space {                                                                              \
  using metal::exp;   using metal::exp2;  using metal::exp10;  using metal::log;                 \
  using metal::log2;  using metal::log10; using metal::sqrt;                                     \
  using metal::sin;   using metal::cos;   using metal::tan;    using metal::asin;                \
  using metal::acos;  using metal::atan;  using metal::atan2;  using metal::sinh;                \
  using metal::cosh;  using metal::tanh;  using metal::asinh;  using metal::acosh;               \
  using metal::atanh; using metal::sinpi; using metal::cospi;  using metal::tanpi;               \
  using metal::pow;   using metal::powr;  using metal::divide; using metal::fmod;                \
  using metal::min;   using metal::max;   using metal::fmin;   using metal::fmax;                \
  using metal::abs;   using metal::fabs;  using metal::clamp;  using metal::saturate;            \
  using metal::floor; using metal::ceil;  using metal::round;  using metal::rint;                \
  using metal::trunc; using metal::fract; using metal::length; using metal::normalize;           \
  using metal::distance; using metal::fma; using metal::ldexp; using metal::frexp;               \
  using metal::sign;  using metal::min3;  using metal::max3;   using metal::sincos;              \
  using metal::modf;  using metal::ilogb; using metal::nextafter; using metal::fdim;             \
  using metal::copysign; using metal::mix; using metal::step; using metal::smoothstep;           \
  using metal::median3; using metal::fmin3; using metal::fmax3; using metal::fmedian3;           \
  using metal::distance_squared; using metal::length_squared; using metal::dot;                  \
  }
ATTN_ACCURACY(fast)
ATTN_ACCURACY(precise)
#undef ATTN_ACCURACY
namespace fast {
using metal::rsqrt;
}
// Correctly rounded.
namespace precise {
ATTN_UNARY(rsqrt, (float)(1.0 / __builtin_sqrt((double)x)))
}

}  // namespace metal
