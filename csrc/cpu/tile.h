#pragma once

// Products of matrices whose one operand is read number by number, at any strides, and whose other lies in vectors; and
// the two layouts of channels and components that lead to it and back.

#include <cstdint>

#include "pack.h"

namespace irrepnet {

inline int64_t rounded(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// What one register file holds: `lanes` numbers of a vector for each of `most` (or, for a rest, `few`) scalars.
template <typename T, int bytes>
struct Tile {
  static constexpr int lanes = bytes / static_cast<int>(sizeof(T));
  static constexpr int most = bytes == 64 ? 12 : 6, few = bytes == 64 ? 4 : 2, wide = 2 * lanes;
};

// sums[m][lane] = sum over steps of x[step[s] + at[m]] * vectors[s * stride + lane], for m < M
template <typename T, int bytes, int M, int registers>
IRREPNET_INLINE void multiply(const T* x, const int64_t* step, int64_t steps, const int64_t* at, const T* vectors,
                              T* sums) {
  using V = Pack<T, bytes, registers>;
  V sum[M];
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m) sum[m] = V(T(0));
  for (int64_t s = 0; s < steps; ++s, vectors += V::size) {
    const V v = *reinterpret_cast<const V*>(vectors);
    const T* from = x + step[s];
#pragma GCC unroll 12
    for (int m = 0; m < M; ++m) sum[m] = sum[m] + from[at[m]] * v;
  }
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m) *reinterpret_cast<V*>(sums + m * V::size) = sum[m];
}

// The same for any number of scalars: sums [count, width], with room for Tile::few more rows. `at` is padded, too.
template <typename T, int bytes, int registers>
IRREPNET_INLINE void multiply_all(const T* x, const int64_t* step, int64_t steps, const int64_t* at, int64_t count,
                                  const T* vectors, T* sums) {
  using Tile = Tile<T, bytes>;
  constexpr int width = registers * Tile::lanes;
  int64_t m = 0;
  for (; m + 2 * Tile::few < count; m += Tile::most) {
    multiply<T, bytes, Tile::most, registers>(x, step, steps, at + m, vectors, sums + m * width);
  }
  for (; m < count; m += Tile::few) {
    multiply<T, bytes, Tile::few, registers>(x, step, steps, at + m, vectors, sums + m * width);
  }
}

// [dim, channel] (rows `stride` apart) <-> [channel, dim]
template <int dim, typename T>
IRREPNET_INLINE void interleave(const T* from, int64_t stride, int64_t channels, T* to) {
  for (int64_t w = 0; w < channels; ++w) {
    for (int k = 0; k < dim; ++k) to[w * dim + k] = from[k * stride + w];
  }
}

template <int dim, typename T>
IRREPNET_INLINE void separate(const T* from, int64_t stride, int64_t channels, T* to) {
  for (int64_t w = 0; w < channels; ++w) {
    for (int k = 0; k < dim; ++k) to[k * stride + w] = from[w * dim + k];
  }
}

template <typename T>
IRREPNET_INLINE void interleave(const T* from, int64_t stride, int64_t channels, int64_t dim, T* to) {
  if (dim == 1) return interleave<1>(from, stride, channels, to);
  if (dim == 3) return interleave<3>(from, stride, channels, to);
  if (dim == 5) return interleave<5>(from, stride, channels, to);
  if (dim == 7) return interleave<7>(from, stride, channels, to);
  for (int64_t k = 0; k < dim; ++k) {
    for (int64_t w = 0; w < channels; ++w) to[w * dim + k] = from[k * stride + w];
  }
}

template <typename T>
IRREPNET_INLINE void separate(const T* from, int64_t stride, int64_t channels, int64_t dim, T* to) {
  if (dim == 1) return separate<1>(from, stride, channels, to);
  if (dim == 3) return separate<3>(from, stride, channels, to);
  if (dim == 5) return separate<5>(from, stride, channels, to);
  if (dim == 7) return separate<7>(from, stride, channels, to);
  for (int64_t k = 0; k < dim; ++k) {
    for (int64_t w = 0; w < channels; ++w) to[k * stride + w] = from[w * dim + k];
  }
}

}  // namespace irrepnet
