#pragma once

// Paths whose weights mix the channels of one edge: with t[k, u] = sum_i M[k, i] x[i, u] and weights W[u, v],
// out[k, v] = sum_u t[k, u] W[u, v]. Rows of t and g begin every `ts` and `gs` numbers; W is dense, `end` is the end of
// its memory.

#include "../shared/convolution.h"
#include "lanes.h"

namespace irrepnet {

// out[k, v] += sum_u t[k, u] W[u, v] for `pieces` vectors of v.
template <int K, int pieces, typename V, typename T>
IRREPNET_INLINE void mix_some(const T* t, int64_t ts, int64_t channels, const T* W, int64_t width, const T* end,
                              const T* next, int64_t v, int64_t any, T* out, int64_t os, V* lent) {
  const int64_t rows = K ? K : any;
  Column<K * pieces, V> sum(lent);
  IRREPNET_UNROLL
  for (int64_t k = 0; k < rows; ++k) {
    IRREPNET_UNROLL
    for (int64_t p = 0; p < pieces; ++p) sum[k * pieces + p] = load<V>(out + k * os + v + p * V::size);
  }
  for (int64_t u = 0; u < channels; ++u) {
    IRREPNET_UNROLL
    for (int64_t p = 0; p < pieces; ++p) {
      const int64_t at = v + p * V::size;
      const V w = load_part<V>(W + u * width + at, width - at, end);
      __builtin_prefetch(next + u * width + at, 0, 2);
      IRREPNET_UNROLL
      for (int64_t k = 0; k < rows; ++k) sum[k * pieces + p] = sum[k * pieces + p] + t[k * ts + u] * w;
    }
  }
  IRREPNET_UNROLL
  for (int64_t k = 0; k < rows; ++k) {
    IRREPNET_UNROLL
    for (int64_t p = 0; p < pieces; ++p) store(out + k * os + v + p * V::size, sum[k * pieces + p]);
  }
}

// out[k, v] += sum_u t[k, u] W[u, v]. `next` is where the weights of a later edge lie, to be fetched meanwhile.
template <int K, typename V, typename T>
IRREPNET_INLINE void mix(const T* t, int64_t ts, int64_t channels, const T* W, int64_t width, const T* end,
                         const T* next, int64_t any, T* out, int64_t os, V* lent) {
  constexpr int some = K == 1 || K == 3 ? 3 : 1;  // sums enough to hide the latency of one
  int64_t v = 0;
  for (; width - v > (some - 1) * V::size; v += some * V::size) {
    mix_some<K, some>(t, ts, channels, W, width, end, next, v, any, out, os, lent);
  }
  for (; v < width; v += V::size) mix_some<K, 1>(t, ts, channels, W, width, end, next, v, any, out, os, lent);
}

// gt[k, u] = sum_v W[u, v] g[k, v], where g is zero beyond `width`
template <int K, typename V, typename T>
IRREPNET_INLINE void mix_back(const T* g, int64_t gs, int64_t channels, const T* W, int64_t width, const T* end,
                              const T* next, int64_t any, T* gt, int64_t ts, V* lent) {
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
        __builtin_prefetch(next + u * width + v, 0, 2);
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
                                 int64_t any, bool add, T* gW, T* next) {
  const int64_t rows = K ? K : any;
  for (int64_t u = 0; u < channels; ++u, gW += width, next += width) {
    for (int64_t v = 0; v < width; v += V::size) {
      __builtin_prefetch(next + v, 1, 2);
      V sum = add ? load_part<V>(gW + v, width - v, gW + width) : V(T(0));
      for (int64_t k = 0; k < rows; ++k) sum = sum + t[k * ts + u] * load<V>(g + k * gs + v);
      store_part(gW + v, sum, width - v);
    }
  }
}

}  // namespace irrepnet
