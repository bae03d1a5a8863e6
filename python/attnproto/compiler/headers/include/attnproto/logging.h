// metal_logging: accepted, and silent on devices that are not Apple's.
namespace metal {

struct os_log {
  // Loggers are constants of a program.
  constexpr os_log() __constant {}
  constexpr os_log(const __constant char*, const __constant char*) __constant {}
#define ATTN_LOG(name) \
  template <class... A> \
  ATTN_INLINE void name(const __constant char*, A...) const __constant {}
  ATTN_LOG(log) ATTN_LOG(log_debug) ATTN_LOG(log_info) ATTN_LOG(log_error) ATTN_LOG(log_fault)
#undef ATTN_LOG
};
constexpr __constant os_log os_log_default = {};

}  // namespace metal
