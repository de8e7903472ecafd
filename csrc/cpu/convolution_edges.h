#pragma once

// What the convolution and its derivatives share: the operands of a batch of edges.

#include "connected.h"
#include "convolution_plan.h"
#include "edge_batch.h"
#include "lanes.h"
#include "rows.h"
#include "scratch.h"

namespace irrepnet {

// Rows of a tensor, or one row for all (step 0); `end` is the end of their memory.
template <typename T>
struct Rows {
  const T *data, *end;
  int64_t step;

  IRREPNET_INLINE const T* at(int64_t row) const { return data + row * step; }
};

// The entries of M for all edges of a batch, [size][kBatch].
template <typename V, typename T>
IRREPNET_INLINE void matrices(const ConvolutionPlan<T>& plan, const Path& path, const T* y, T* M) {
  const int64_t* begin = plan.begins.data() + path.M;
  y += path.y * kBatch<T>;
  for (int64_t n = 0; n < path.size; ++n) {
    V sum(T(0));
    for (int64_t t = begin[n]; t < begin[n + 1]; ++t) {
      sum = sum + plan.terms[t].value * load<V>(y + plan.terms[t].from * kBatch<T>);
    }
    store(M + n * kBatch<T>, sum);
  }
}

// Rows y[e] of a batch, side by side: to [dim_y][kBatch], zero where there is no edge.
template <typename T>
IRREPNET_INLINE void gather(const Rows<T>& y, int64_t dim_y, const EdgeBatch<T>& batch, T* to) {
  for (int64_t n = 0; n < batch.count; ++n) {
    const T* row = y.at(batch.edge[n]);
    for (int64_t j = 0; j < dim_y; ++j) to[j * kBatch<T> + n] = row[j];
  }
  for (int64_t n = batch.count; n < kBatch<T>; ++n) {
    for (int64_t j = 0; j < dim_y; ++j) to[j * kBatch<T> + n] = T(0);
  }
}

// Weights of the next batch come while this one is worked on: those of a path lie too far from those of the path before
// for the processor to foresee them.
template <bool write, typename T>
IRREPNET_INLINE void prefetch(const T* from, int64_t count) {
  for (int64_t c = 0; c < count; c += kPad<T>) __builtin_prefetch(from + c, write, 2);
}

// The weights of some channels of a path; 1 where it has none.
template <typename V, typename T>
IRREPNET_INLINE V weights_at(const Path& path, const T* row, int64_t c, int64_t mul, const T* end) {
  return path.weights < 0 ? V(T(1)) : load_part<V>(row + path.weights + c, mul - c, end);
}

// t[k] += sum_i M[k, i] x[i] for all channels of a block.
template <typename Wide, typename Narrow, typename T>
IRREPNET_INLINE void multiply(const ChannelBlock& in, const T* x, const T* M, int64_t rows, T* t, T* lent) {
  with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
    for_channels<Wide, Narrow>(0, in.stride, [&](int64_t c, auto as) IRREPNET_LAMBDA {
      using V = typename decltype(as)::type;
      path_forward<decltype(dims)::value, kBatch<T>>(x + c, in.dims, in.stride, V(T(1)), M, rows, in.stride, t + c,
                                                     reinterpret_cast<V*>(lent));
    });
  });
}

}  // namespace irrepnet
