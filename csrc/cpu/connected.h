#pragma once

// Paths whose weights mix the channels of one edge: with t[k, u] = sum_i M[k, i] x[i, u] and weights W[u, v],
// out[k, v] = sum_u t[k, u] W[u, v]. Rows of t and g begin every `ts` and `gs` numbers; W is dense, `end` is the end of
// its memory.

#include "../shared/convolution.h"
#include "lanes.h"

namespace irrepnet {

// out[k, v] += sum_u t[k, u] W[u, v]
template <int K, typename V, typename T>
IRREPNET_INLINE void mix(const T* t, int64_t ts, int64_t channels, const T* W, int64_t width, const T* end, int64_t any,
                         T* out, int64_t os, V* lent) {
  const int64_t rows = K ? K : any;
  for (int64_t v = 0; v < width; v += V::size) {
    Column<K, V> sum(lent);
    IRREPNET_UNROLL
    for (int64_t k = 0; k < rows; ++k) sum[k] = load<V>(out + k * os + v);
    const T* row = W + v;
    for (int64_t u = 0; u < channels; ++u, row += width) {
      const V w = load_part<V>(row, width - v, end);
      IRREPNET_UNROLL
      for (int64_t k = 0; k < rows; ++k) sum[k] = sum[k] + t[k * ts + u] * w;
    }
    for (int64_t k = 0; k < rows; ++k) store(out + k * os + v, sum[k]);
  }
}

// gt[k, u] = sum_v W[u, v] g[k, v], where g is zero beyond `width`
template <int K, typename V, typename T>
IRREPNET_INLINE void mix_back(const T* g, int64_t gs, int64_t channels, const T* W, int64_t width, const T* end,
                              int64_t any, T* gt, int64_t ts, V* lent) {
  const int64_t rows = K ? K : any;
  V* const sums = lent;  // [rows][V::size]
  for (int64_t first = 0; first < channels; first += V::size) {
    for (int64_t n = 0; n < V::size; ++n) {
      const int64_t u = first + n;
      Column<K, V> sum(lent + rows * V::size);
      IRREPNET_UNROLL
      for (int64_t k = 0; k < rows; ++k) sum[k] = V(T(0));
      for (int64_t v = 0; u < channels && v < width; v += V::size) {
        const V w = load_part<V>(W + u * width + v, width - v, end);
        IRREPNET_UNROLL
        for (int64_t k = 0; k < rows; ++k) sum[k] = sum[k] + w * load<V>(g + k * gs + v);
      }
      IRREPNET_UNROLL
      for (int64_t k = 0; k < rows; ++k) sums[k * V::size + n] = sum[k];
    }
    for (int64_t k = 0; k < rows; ++k) sum_lanes(sums + k * V::size, 1, V::size, gt + k * ts + first);
  }
}

// gW[u, v] = sum_k t[k, u] g[k, v], or added to it
template <int K, typename V, typename T>
IRREPNET_INLINE void mix_weights(const T* t, int64_t ts, int64_t channels, const T* g, int64_t gs, int64_t width,
                                 int64_t any, bool add, T* gW) {
  const int64_t rows = K ? K : any;
  for (int64_t u = 0; u < channels; ++u, gW += width) {
    for (int64_t v = 0; v < width; v += V::size) {
      V sum = add ? load_part<V>(gW + v, width - v, gW + width) : V(T(0));
      for (int64_t k = 0; k < rows; ++k) sum = sum + t[k * ts + u] * load<V>(g + k * gs + v);
      store_part(gW + v, sum, width - v);
    }
  }
}

}  // namespace irrepnet
