#pragma once

// Tensors hold points row after row; kernels want the same component of many points side by side.

#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "pack.h"

namespace irrepnet {

// Square tiles that turn without going through memory number by number.
#if defined(__SSE2__)
IRREPNET_INLINE void turn_tile(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
  __m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a);
  _mm_storeu_ps(to + to_stride, b);
  _mm_storeu_ps(to + 2 * to_stride, c);
  _mm_storeu_ps(to + 3 * to_stride, d);
}

IRREPNET_INLINE void turn_tile(const double* from, int64_t from_stride, double* to, int64_t to_stride) {
  const __m128d a = _mm_loadu_pd(from), b = _mm_loadu_pd(from + from_stride);
  _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
  _mm_storeu_pd(to + to_stride, _mm_unpackhi_pd(a, b));
}
#else
template <typename T>
IRREPNET_INLINE void turn_tile(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int tile = 16 / sizeof(T);
  for (int r = 0; r < tile; ++r) {
    for (int c = 0; c < tile; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}
#endif

// to[c * to_stride + r] = from[r * from_stride + c]
template <typename T>
IRREPNET_INLINE void turn(
    const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to, int64_t to_stride) {
  constexpr int tile = 16 / sizeof(T);
  int64_t r = 0;
  for (; r + tile <= rows; r += tile) {
    int64_t c = 0;
    for (; c + tile <= columns; c += tile) {
      turn_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    }
    for (; c < columns; ++c) {
      for (int k = r; k < r + tile; ++k) to[c * to_stride + k] = from[k * from_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

// rows [count, width] -> packs [width]; the places beyond count are zero.
template <typename T, int bytes>
IRREPNET_INLINE void load_rows(const T* rows, int64_t count, int64_t width, Pack<T, bytes>* packs) {
  if (count < Pack<T, bytes>::size) {
    for (int64_t c = 0; c < width; ++c) packs[c] = Pack<T, bytes>(T(0));
  }
  turn(rows, width, count, width, reinterpret_cast<T*>(packs), Pack<T, bytes>::size);
}

// packs [width] -> rows [count, width]
template <typename T, int bytes>
IRREPNET_INLINE void store_rows(const Pack<T, bytes>* packs, int64_t count, int64_t width, T* rows) {
  turn(reinterpret_cast<const T*>(packs), Pack<T, bytes>::size, width, count, rows, width);
}

}  // namespace irrepnet
