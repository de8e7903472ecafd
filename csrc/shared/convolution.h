#pragma once

// The convolution of a channelwise tensor product, one path of one edge at a time:
//   out[k, c] += w[c] sum_i M[k, i] x[i, c],  M[k, i] = sum_j C[i, j, k] y[j]
// and the derivatives of T = sum_kc g[k, c] w[c] M[k, i] x[i, c]. V is T (one channel per GPU thread) or a pack of T
// (many channels side by side); a row of channels of x begins every `stride`
// numbers, one of the output every `to`; the entries of M lie `step` apart. Where the number of components of x is known
// when compiled, it is I, and they stay in registers; else I is 0.

#include <cstdint>

#include "macros.h"

namespace irrepnet {

// How V lies in memory; packs say so themselves.
template <typename V>
struct Memory {
  template <typename T>
  static IRREPNET_INLINE V load(const T* from) { return *from; }
  template <typename T>
  static IRREPNET_INLINE void store(T* to, const V& value) { *to = value; }
};

template <typename V, typename T>
IRREPNET_INLINE V load(const T* from) {
  return Memory<V>::load(from);
}

template <typename V, typename T>
IRREPNET_INLINE void store(T* to, const V& value) {
  Memory<V>::store(to, value);
}

// Numbers of one channel that do not fit an array of fixed size lie in memory that the caller lends.
template <int I, typename V>
struct Column {
  V value[I];
  IRREPNET_INLINE explicit Column(V*) {}
  IRREPNET_INLINE V& operator[](int64_t i) { return value[i]; }
};

template <typename V>
struct Column<0, V> {
  V* value;
  IRREPNET_INLINE explicit Column(V* lent) : value(lent) {}
  IRREPNET_INLINE V& operator[](int64_t i) { return value[i]; }
};

// out[k] += w sum_i M[k, i] x[i]
template <int I, int step, typename V, typename T>
IRREPNET_INLINE void path_forward(
    const T* x, int64_t any, int64_t stride, const V& w, const T* M, int64_t rows, int64_t to, T* out, V* lent) {
  const int64_t dims = I ? I : any;
  Column<I, V> t(lent);
  IRREPNET_UNROLL
  for (int64_t i = 0; i < dims; ++i) t[i] = w * load<V>(x + i * stride);
  for (int64_t k = 0; k < rows; ++k, M += dims * step) {
    V z = load<V>(out + k * to);
    IRREPNET_UNROLL
    for (int64_t i = 0; i < dims; ++i) z = z + M[i * step] * t[i];
    store(out + k * to, z);
  }
}

// gx[i] += w u[i] and t[i] = w x[i], with u[i] = sum_k M[k, i] g[k]; returns gw = sum_i u[i] x[i].
template <int I, int step, typename V, typename T>
IRREPNET_INLINE V path_backward(const T* x, int64_t any, int64_t stride, const V& w, const T* M, int64_t rows,
                                int64_t to, const T* g, T* gx, T* t, V* lent) {
  const int64_t dims = I ? I : any;
  Column<I, V> u(lent);
  IRREPNET_UNROLL
  for (int64_t i = 0; i < dims; ++i) u[i] = V(T(0));
  for (int64_t k = 0; k < rows; ++k, M += dims * step) {
    const V gk = load<V>(g + k * to);
    IRREPNET_UNROLL
    for (int64_t i = 0; i < dims; ++i) u[i] = u[i] + M[i * step] * gk;
  }
  V gw = V(T(0));
  IRREPNET_UNROLL
  for (int64_t i = 0; i < dims; ++i) {
    const V xi = load<V>(x + i * stride);
    gw = gw + u[i] * xi;
    store(gx + i * stride, load<V>(gx + i * stride) + w * u[i]);
    store(t + i * stride, w * xi);
  }
  return gw;
}

// The directional derivative of out, gx and gw along (dx, dM, dw), g held: adds to dout and dgx, writes ds = d(w x),
// returns dgw.
template <int I, int step, typename V, typename T>
IRREPNET_INLINE V path_second(const T* x, const T* dx, int64_t any, int64_t stride, const V& w, const V& dw, const T* M,
                              const T* dM, int64_t rows, int64_t to, const T* g, T* dout, T* dgx, T* ds, V* lent) {
  const int64_t dims = I ? I : any;
  Column<I, V> u(lent), du(lent + any), t(lent + 2 * any), s(lent + 3 * any);
  IRREPNET_UNROLL
  for (int64_t i = 0; i < dims; ++i) {
    const V xi = load<V>(x + i * stride);
    t[i] = w * xi;
    s[i] = dw * xi + w * load<V>(dx + i * stride);
    u[i] = du[i] = V(T(0));
  }
  for (int64_t k = 0; k < rows; ++k, M += dims * step, dM += dims * step) {
    const V gk = load<V>(g + k * to);
    V z = load<V>(dout + k * to);
    IRREPNET_UNROLL
    for (int64_t i = 0; i < dims; ++i) {
      z = z + M[i * step] * s[i];
      z = z + dM[i * step] * t[i];
      u[i] = u[i] + M[i * step] * gk;
      du[i] = du[i] + dM[i * step] * gk;
    }
    store(dout + k * to, z);
  }
  V dgw = V(T(0));
  IRREPNET_UNROLL
  for (int64_t i = 0; i < dims; ++i) {
    dgw = dgw + du[i] * load<V>(x + i * stride);
    dgw = dgw + u[i] * load<V>(dx + i * stride);
    store(dgx + i * stride, load<V>(dgx + i * stride) + (dw * u[i] + w * du[i]));
    store(ds + i * stride, s[i]);
  }
  return dgw;
}

}  // namespace irrepnet
