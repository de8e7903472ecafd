#pragma once

// The convolution: a thread owns destinations.

#include "convolution_edges.h"

namespace irrepnet {

template <typename T>
struct Forward {
  const ConvolutionPlan<T>& plan;
  const Edges& edges;
  const T* x;  // [sources, plan.dim_x], padded
  Rows<T> y, w;
  T* out;  // [destinations, plan.columns_out]
  const std::vector<int64_t>& bounds;

  // Where the edges of a batch read, and where those of the next one will find their weights.
  struct Sources {
    const T *x[kBatch<T>], *w[kBatch<T>], *next[kBatch<T>];
  };

  template <int bytes>
  IRREPNET_INLINE void run(int64_t first, int64_t last) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    using Across = Pack<T, bytes, 64 / bytes>;  // one number of each edge of a batch
    EdgeWalk<T> walk(edges, bounds[first], bounds[last], plan.dim_out);
    Scratch<T> sums(walk.slots() * plan.dim_out), y_batch(plan.dim_y * kBatch<T>), M(plan.largest_matrix * kBatch<T>);
    Scratch<T> t(plan.most_dims * plan.widest), lent(plan.most_dims * Wide::size);
    EdgeBatch<T> batch;
    Sources from;
    while (walk.next(batch)) {
      for (int64_t n = 0; n < batch.count; ++n) {
        from.x[n] = x + batch.src[n] * plan.dim_x;
        from.w[n] = w.at(batch.edge[n]);
        from.next[n] = w.at(batch.next[n]);
      }
      gather(y, plan.dim_y, batch, +y_batch);
      for (const Run& r : batch) {
        if (r.starts) std::fill_n(sums + r.slot * plan.dim_out, plan.dim_out, T(0));
      }
      for (const Path& path : plan.paths) {
        matrices<Across>(plan, path, +y_batch, +M);
        if (path.mixes) {
          mixed<Wide, Narrow>(path, batch, from, M, sums, t, lent);
        } else {
          direct<Wide, Narrow>(path, batch, from, M, sums, lent);
        }
      }
      for (const Run& r : batch) {
        if (!r.ends) continue;
        const T* done = sums + r.slot * plan.dim_out;
        for (const ChannelBlock& b : plan.outs) {
          turn(done + b.at, b.stride, b.dims, b.mul, out + r.node * plan.columns_out + b.column, b.dims);
        }
      }
    }
  }

  // Sums over the edges of a run stay in registers.
  template <int I, int K, typename V>
  IRREPNET_INLINE void run_edges(const Path& path, const Sources& from, const Run& r, int64_t c, const T* M, T* to) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    const int64_t column = path.weights + c, at = in.at + c;
    const bool whole = path.weights >= 0 && in.mul - c >= V::size, ahead = w.step != 0 && path.weights >= 0;
    V sum[K];
    IRREPNET_UNROLL
    for (int k = 0; k < K; ++k) sum[k] = load<V>(to + k * block.stride);
    for (int64_t n = r.begin; n < r.end; ++n) {
      const T* row = from.x[n] + at;
      const V weight = whole ? load<V>(from.w[n] + column) : weights_at<V>(path, from.w[n], c, in.mul, w.end);
      if (ahead) prefetch<false>(from.next[n] + column, V::size);
      V t[I];
      IRREPNET_UNROLL
      for (int i = 0; i < I; ++i) t[i] = weight * load<V>(row + i * in.stride);
      IRREPNET_UNROLL
      for (int k = 0; k < K; ++k) {
        IRREPNET_UNROLL
        for (int i = 0; i < I; ++i) sum[k] = sum[k] + M[(k * I + i) * kBatch<T> + n] * t[i];
      }
    }
    IRREPNET_UNROLL
    for (int k = 0; k < K; ++k) store(to + k * block.stride, sum[k]);
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void direct(const Path& path, const EdgeBatch<T>& batch, const Sources& from, const T* M, T* sums,
                              T* lent) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
      with_dims<Narrow>(block.dims, [&](auto rows) IRREPNET_LAMBDA {
        constexpr int I = decltype(dims)::value, K = decltype(rows)::value;
        for (const Run& r : batch) {
          T* to = sums + r.slot * plan.dim_out + block.at;
          for_channels<Wide, Narrow>(0, in.stride, [&](int64_t c, auto as) IRREPNET_LAMBDA {
            using V = typename decltype(as)::type;
            if constexpr (I > 0 && K > 0) {
              run_edges<I, K, V>(path, from, r, c, M, to + c);
            } else {
              for (int64_t n = r.begin; n < r.end; ++n) {
                path_forward<I, kBatch<T>>(from.x[n] + in.at + c, in.dims, in.stride,
                                           weights_at<V>(path, from.w[n], c, in.mul, w.end), M + n, block.dims,
                                           block.stride, to + c, reinterpret_cast<V*>(lent));
              }
            }
          });
        }
      });
    });
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void mixed(const Path& path, const EdgeBatch<T>& batch, const Sources& from, const T* M, T* sums,
                             T* t, T* lent) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    for (const Run& r : batch) {
      T* to = sums + r.slot * plan.dim_out + block.at;
      for (int64_t n = r.begin; n < r.end; ++n) {
        std::fill(t, t + block.dims * in.stride, T(0));
        multiply<Wide, Narrow>(in, from.x[n] + in.at, M + n, block.dims, t, lent);
        with_dims<Narrow>(block.dims, [&](auto rows) IRREPNET_LAMBDA {
          mix<decltype(rows)::value, Narrow>(t, in.stride, in.mul, from.w[n] + path.weights, block.mul, w.end,
                                             from.next[n] + path.weights, block.dims, to, block.stride,
                                             reinterpret_cast<Narrow*>(lent));
        });
      }
    }
  }
};

}  // namespace irrepnet
