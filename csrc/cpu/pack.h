#pragma once

// Numbers that are worked on together, and code compiled for more than one instruction set: a wheel must run on any
// x86-64, so the set is chosen at run time. Other processors use their 16-byte vectors (NEON).

#include <cstdint>

#include "../shared/macros.h"

namespace irrepnet {

// `size` numbers in `count` vector registers of `bytes` bytes: two hide the latency of a sum, more would spill.
template <typename T, int bytes, int count = 2>
struct __attribute__((may_alias)) Pack {
  typedef T Register __attribute__((vector_size(bytes), aligned(sizeof(T)), may_alias));  // may lie anywhere
  static constexpr int registers = count;
  static constexpr int size = registers * bytes / static_cast<int>(sizeof(T));
  Register part[registers];

  Pack() = default;
  IRREPNET_INLINE explicit Pack(T value) {
    for (auto& p : part) p = value + Register{};
  }
  friend IRREPNET_INLINE Pack operator+(const Pack& a, const Pack& b) {
    Pack c;
    IRREPNET_UNROLL
    for (int n = 0; n < registers; ++n) c.part[n] = a.part[n] + b.part[n];
    return c;
  }
  friend IRREPNET_INLINE Pack operator-(const Pack& a, const Pack& b) {
    Pack c;
    IRREPNET_UNROLL
    for (int n = 0; n < registers; ++n) c.part[n] = a.part[n] - b.part[n];
    return c;
  }
  friend IRREPNET_INLINE Pack operator*(const Pack& a, const Pack& b) {
    Pack c;
    IRREPNET_UNROLL
    for (int n = 0; n < registers; ++n) c.part[n] = a.part[n] * b.part[n];
    return c;
  }
  friend IRREPNET_INLINE Pack operator*(T a, const Pack& b) {
    Pack c;
    IRREPNET_UNROLL
    for (int n = 0; n < registers; ++n) c.part[n] = a * b.part[n];
    return c;
  }
};

#if defined(__x86_64__)
template <typename Kernel>
__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) void run_avx512(
    const Kernel& kernel, int64_t begin, int64_t end) {
  kernel.template run<64>(begin, end);
}

template <typename Kernel>
__attribute__((target("avx2,fma"))) void run_avx2(const Kernel& kernel, int64_t begin, int64_t end) {
  kernel.template run<32>(begin, end);
}
#endif

// Calls kernel.run<bytes>(begin, end) with the widest registers of this processor. `run` and all that it calls on
// Packs must be IRREPNET_INLINE, so that they are compiled for the instruction set.
template <typename Kernel>
void run_widest(const Kernel& kernel, int64_t begin, int64_t end) {
#if defined(IRREPNET_ONE_WIDTH)  // the build for `make sanitize`, which would take long for more
  kernel.template run<IRREPNET_ONE_WIDTH>(begin, end);
#else
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (has_avx512) return run_avx512(kernel, begin, end);
  if (has_avx2) return run_avx2(kernel, begin, end);
#endif
  kernel.template run<16>(begin, end);
#endif
}

}  // namespace irrepnet
