#pragma once

// Work on rows of points: split over threads, blocks of W rows turned so that points lie innermost, and the whole
// compiled once per instruction set, chosen at run time (a binary must run on any x86-64).

#include <torch/csrc/stable/ops.h>

#include <cstdint>
#include <memory>

#include "../shared/macros.h"

namespace irrepnet {

// Points per block: two to four vector registers of any x86-64 or ARM, so that loop overhead is shared.
template <typename T>
constexpr int kLanes = 128 / sizeof(T);

#if defined(__x86_64__) && defined(__GNUC__)
template <typename Body>
__attribute__((target("avx2,fma"))) void run_avx2(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}
template <typename Body>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"))) void run_avx512(const Body& body, int64_t begin, int64_t end) {
  body(begin, end);
}
inline int isa() {
  static const int level = __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? 2 : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
  static const int forced = getenv("IRREP_ISA") ? atoi(getenv("IRREP_ISA")) : level;
  return forced;
}
#endif

// body(begin, end) must be an IRREPNET_INLINE call operator.
template <typename Body>
void run_best(const Body& body, int64_t begin, int64_t end) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (isa() == 2) return run_avx512(body, begin, end);
  if (isa() == 1) return run_avx2(body, begin, end);
#endif
  body(begin, end);
}

// rows [count][width] -> lanes [width][W]; lanes beyond count are zero.
template <int W, typename T>
IRREPNET_INLINE void load_rows(const T* rows, int64_t width, int64_t count, T* lanes) {
  if (count == W) {
    for (int64_t c = 0; c < width; ++c) {
      for (int k = 0; k < W; ++k) lanes[c * W + k] = rows[k * width + c];
    }
  } else {
    for (int64_t c = 0; c < width; ++c) {
      for (int k = 0; k < W; ++k) lanes[c * W + k] = k < count ? rows[k * width + c] : T(0);
    }
  }
}

// lanes [width][W] -> rows [count][width]
template <int W, typename T>
IRREPNET_INLINE void store_rows(const T* lanes, int64_t width, int64_t count, T* rows) {
  for (int64_t k = 0; k < count; ++k) {
    for (int64_t c = 0; c < width; ++c) rows[k * width + c] = lanes[c * W + k];
  }
}

}  // namespace irrepnet
