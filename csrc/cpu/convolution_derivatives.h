#pragma once

// Derivatives of the convolution: a task owns channels (ConvolutionPlan::tasks).

#include <atomic>

#include "convolution_edges.h"

namespace irrepnet {

// Pointers to what the derivatives read and write. Those that are not wanted are null.
template <typename T>
struct Operands {
  const T *x, *dx;         // [sources, plan.dim_x], padded
  Rows<T> y, dy, w, dw;    // [E, ...]
  const T* g;              // [destinations, plan.columns_out]
  T *dout, *gx, *gy, *gw;  // [destinations, columns_out], [sources, dim_x] padded, [tasks, E, dim_y], [E, W] or [W]
  int64_t gw_step;         // 0 where all edges share the weights
  const T* zeros;          // a row of any of these
};

// gx, gy and gw of `Forward`; or, `second`, the directional derivatives of out, gx, gy and gw along (dx, dy, dw).
template <typename T, bool second>
struct Derivatives {
  const ConvolutionPlan<T>& plan;
  const Edges& edges;
  const Operands<T>& ops;
  const std::vector<std::vector<Part>>& tasks;
  std::atomic<int64_t>& next;

  struct Room {
    Scratch<T> g, sums, y, dy, gy, M, dM, outer, t, dt, gt, dgt, nowhere, lent;

    Room(const ConvolutionPlan<T>& plan, int64_t slots, int64_t wide, int64_t narrow)
        : g(slots * plan.dim_out), sums(second ? g.size() : 0), y(plan.dim_y * kBatch<T>), dy(y.size()), gy(y.size()),
          M(plan.largest_matrix * kBatch<T>), dM(M.size()), outer(M.size() * narrow),
          t(plan.most_dims * plan.widest), dt(t.size()), gt(t.size()), dgt(t.size()), nowhere(plan.dim_x),
          lent(plan.most_dims * (4 * wide + narrow + narrow * narrow)) {}
  };

  template <int bytes>
  IRREPNET_INLINE void run(int64_t, int64_t) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    using Across = Pack<T, bytes, 64 / bytes>;
    const int64_t count = static_cast<int64_t>(tasks.size());
    for (int64_t task = next++; task < count; task = next++) {
      EdgeWalk<T> walk(edges, 0, edges.destinations, plan.dim_out);
      Room room(plan, walk.slots(), Wide::size, Narrow::size);
      EdgeBatch<T> batch;
      while (walk.next(batch)) work<Wide, Narrow, Across>(task, batch, room);
    }
  }

  template <typename Wide, typename Narrow, typename Across>
  IRREPNET_INLINE void work(int64_t task, const EdgeBatch<T>& batch, Room& room) const {
    gather(ops.y, plan.dim_y, batch, +room.y);
    if (second) gather(ops.dy, plan.dim_y, batch, +room.dy);
    for (const Run& r : batch) {
      if (!r.starts) continue;
      const T* g = ops.g + r.node * plan.columns_out;
      T *to = room.g + r.slot * plan.dim_out, *sums = room.sums + r.slot * plan.dim_out;
      outputs(task, [&](const ChannelBlock& b, int64_t c, int64_t count) {
        turn(g + b.column + c * b.dims, b.dims, count, b.dims, to + b.at + c, b.stride);
        if (second) for (int64_t k = 0; k < b.dims; ++k) std::fill_n(sums + b.at + k * b.stride + c, count, T(0));
      });
    }
    for (const Part& part : tasks[task]) {
      for (int64_t p = plan.first[part.block]; p < plan.first[part.block + 1]; ++p) {
        const Path& path = plan.paths[p];
        matrices<Across>(plan, path, +room.y, +room.M);
        if (second) matrices<Across>(plan, path, +room.dy, +room.dM);
        if (path.mixes) {
          mixed<Wide, Narrow>(path, batch, room);
        } else {
          direct<Wide, Narrow>(path, part, batch, room);
        }
        if (ops.gy) contract<Narrow, Across>(path, batch.count, room);
      }
    }
    if (ops.gy) {
      T* to = ops.gy + task * edges.count * plan.dim_y;
      for (int64_t n = 0; n < batch.count; ++n) {
        for (int64_t j = 0; j < plan.dim_y; ++j) to[batch.edge[n] * plan.dim_y + j] = room.gy[j * kBatch<T> + n];
      }
      std::fill_n(+room.gy, plan.dim_y * kBatch<T>, T(0));
    }
    if (!second || !ops.dout) return;
    for (const Run& r : batch) {
      if (!r.ends) continue;
      T *out = ops.dout + r.node * plan.columns_out, *sums = room.sums + r.slot * plan.dim_out;
      outputs(task, [&](const ChannelBlock& b, int64_t c, int64_t count) {
        turn(sums + b.at + c, b.stride, b.dims, count, out + b.column + c * b.dims, b.dims);
      });
    }
  }

  // Calls body(block, first channel, number of channels) for what a task's paths write to.
  template <typename Body>
  void outputs(int64_t task, const Body& body) const {
    for (const Part& part : tasks[task]) {
      for (int64_t p = plan.first[part.block]; p < plan.first[part.block + 1]; ++p) {
        const Path& path = plan.paths[p];
        const ChannelBlock& to = plan.outs[path.out];
        const int64_t begin = path.mixes ? 0 : part.begin, end = path.mixes ? to.mul : std::min(part.end, to.mul);
        body(to, begin, end - begin);
      }
    }
  }

  // What an edge reads and writes for the channels of a block.
  struct Place {
    const T *x, *dx, *w, *dw;
    T *gx, *gw;
  };

  IRREPNET_INLINE Place place(const Path& path, int64_t src, int64_t e, Room& room) const {
    const int64_t at = src * plan.dim_x + plan.ins[path.block].at;
    return {ops.x + at, ops.dx ? ops.dx + at : ops.zeros, ops.w.at(e), ops.dw.at(e),
            ops.gx ? ops.gx + at : +room.nowhere, ops.gw && path.weights >= 0 ? ops.gw + e * ops.gw_step : nullptr};
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void direct(const Path& path, const Part& part, const EdgeBatch<T>& batch, Room& room) const {
    const ChannelBlock &in = plan.ins[path.block], &to = plan.outs[path.out];
    const int64_t fetched = ops.w.step && path.weights >= 0 ? std::min(part.end, in.mul) - part.begin : 0;
    with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
      constexpr int I = decltype(dims)::value;
      // Many components leave no registers for pairs of vectors.
      using Most = std::conditional_t<(second && (I == 0 || I > 3)), Narrow, Wide>;
      for (const Run& r : batch) {
        const T* g = room.g + r.slot * plan.dim_out + to.at;
        T* sums = room.sums + r.slot * plan.dim_out + to.at;
        for (int64_t n = r.begin; n < r.end; ++n) {
          const Place at = place(path, batch.src[n], batch.edge[n], room);
          const int64_t ahead = batch.next[n], column = path.weights + part.begin;
          prefetch<false>(ops.w.at(ahead) + column, fetched);
          if (second) prefetch<false>(ops.dw.at(ahead) + column, ops.dw.step ? fetched : 0);
          if (at.gw && ops.gw_step) prefetch<true>(ops.gw + ahead * ops.gw_step + column, fetched);
          for_channels<Most, Narrow>(part.begin, part.end, [&](int64_t c, auto as) IRREPNET_LAMBDA {
            using V = typename decltype(as)::type;
            auto* lent = reinterpret_cast<V*>(+room.lent);
            const V weight = weights_at<V>(path, at.w, c, in.mul, ops.w.end);
            V grad;
            if constexpr (second) {
              const V tangent = path.weights < 0 ? V(T(0)) : load_part<V>(at.dw + path.weights + c, in.mul - c, ops.dw.end);
              grad = path_second<I, kBatch<T>>(at.x + c, at.dx + c, in.dims, in.stride, weight, tangent, room.M + n,
                                               room.dM + n, to.dims, to.stride, g + c, sums + c, at.gx + c, room.t + c, lent);
            } else {
              grad = path_backward<I, kBatch<T>>(at.x + c, in.dims, in.stride, weight, room.M + n, to.dims, to.stride,
                                                 g + c, at.gx + c, room.t + c, lent);
            }
            if (!at.gw) return;
            T* here = at.gw + path.weights + c;
            if (ops.gw_step == 0) grad = grad + load_part<V>(here, in.mul - c, here);
            store_part(here, grad, in.mul - c);
          });
          if (ops.gy) outer<I, Narrow>(path, n, room.t, in.stride, g, to.stride, part.begin, part.end, false, room);
        }
      }
    });
  }

  // A path whose weights mix channels: they stand between t = M x and the output.
  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void mixed(const Path& path, const EdgeBatch<T>& batch, Room& room) const {
    const ChannelBlock &in = plan.ins[path.block], &to = plan.outs[path.out];
    auto* lent = reinterpret_cast<Narrow*>(+room.lent);
    for (const Run& r : batch) {
      const T* g = room.g + r.slot * plan.dim_out + to.at;
      T* sums = room.sums + r.slot * plan.dim_out + to.at;
      for (int64_t n = r.begin; n < r.end; ++n) {
        const Place at = place(path, batch.src[n], batch.edge[n], room);
        const T *W = at.w + path.weights, *dW = at.dw + path.weights, *M = room.M + n, *dM = room.dM + n;
        std::fill(room.t + 0, room.t + to.dims * in.stride, T(0));
        multiply<Wide, Narrow>(in, at.x, M, to.dims, +room.t, +room.lent);
        if (second) {
          std::fill(room.dt + 0, room.dt + to.dims * in.stride, T(0));
          multiply<Wide, Narrow>(in, at.dx, M, to.dims, +room.dt, +room.lent);
          multiply<Wide, Narrow>(in, at.x, dM, to.dims, +room.dt, +room.lent);
        }
        const T* t = second ? +room.dt : +room.t;
        const T *W_next = ops.w.at(batch.next[n]) + path.weights, *dW_next = ops.dw.at(batch.next[n]) + path.weights;
        with_dims<Narrow>(to.dims, [&](auto rows) IRREPNET_LAMBDA {
          constexpr int K = decltype(rows)::value;
          mix_back<K, Narrow>(g, to.stride, in.mul, W, to.mul, ops.w.end, W_next, to.dims, +room.gt, in.stride, lent);
          if (at.gw) {
            T* gW = at.gw + path.weights;
            T* next = ops.gw + batch.next[n] * ops.gw_step + path.weights;
            mix_weights<K, Narrow>(t, in.stride, in.mul, g, to.stride, to.mul, to.dims, ops.gw_step == 0, gW, next);
          }
          if constexpr (second) {
            mix_back<K, Narrow>(g, to.stride, in.mul, dW, to.mul, ops.dw.end, dW_next, to.dims, +room.dgt, in.stride, lent);
            mix<K, Narrow>(+room.dt, in.stride, in.mul, W, to.mul, ops.w.end, W_next, to.dims, sums, to.stride, lent);
            mix<K, Narrow>(+room.t, in.stride, in.mul, dW, to.mul, ops.dw.end, dW_next, to.dims, sums, to.stride, lent);
          }
        });
        for (int term = 0; term < (second ? 2 : 1); ++term) {  // M and dgt, then dM and gt
          const T *from = term ? at.dx : at.x, *matrix = term ? dM : M;
          const T* grad = second && !term ? +room.dgt : +room.gt;
          with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
            constexpr int I = decltype(dims)::value;
            for_channels<Wide, Narrow>(0, in.stride, [&](int64_t c, auto as) IRREPNET_LAMBDA {
              using V = typename decltype(as)::type;
              path_backward<I, kBatch<T>>(from + c, in.dims, in.stride, V(T(1)), matrix, to.dims, in.stride, grad + c,
                                          at.gx + c, room.t + c, reinterpret_cast<V*>(+room.lent));
            });
            if (ops.gy) outer<I, Narrow>(path, n, room.t, in.stride, grad, in.stride, 0, in.stride, term, room);
          });
        }
      }
    }
  }

  // outer[n][k, i] = sum over channels of t[i] g[k], its lanes not summed yet
  template <int I, typename V>
  IRREPNET_INLINE void outer(const Path& path, int64_t n, const T* t, int64_t ts, const T* g, int64_t gs, int64_t begin,
                             int64_t end, bool add, Room& room) const {
    const int64_t dims = I ? I : plan.ins[path.block].dims, rows = plan.outs[path.out].dims;
    T* to = room.outer + n * path.size * V::size;
    for (int64_t k = 0; k < rows; ++k, to += dims * V::size) {
      Column<I, V> sum(reinterpret_cast<V*>(+room.lent));
      IRREPNET_UNROLL
      for (int64_t i = 0; i < dims; ++i) sum[i] = add ? load<V>(to + i * V::size) : V(T(0));
      for (int64_t c = begin; c < end; c += V::size) {
        const V gk = load<V>(g + k * gs + c);
        IRREPNET_UNROLL
        for (int64_t i = 0; i < dims; ++i) sum[i] = sum[i] + load<V>(t + i * ts + c) * gk;
      }
      IRREPNET_UNROLL
      for (int64_t i = 0; i < dims; ++i) store(to + i * V::size, sum[i]);
    }
  }

  // gy[j] += sum_ki C[i, j, k] gM[k, i] for all edges of a batch, where gM sums the lanes of `outer`
  template <typename V, typename Across>
  IRREPNET_INLINE void contract(const Path& path, int64_t count, Room& room) const {
    const auto* vectors = reinterpret_cast<const V*>(+room.outer);
    for (int64_t n = 0; n < path.size; ++n) {
      for (int64_t first = 0; first < kBatch<T>; first += V::size) {
        sum_lanes(vectors + first * path.size + n, path.size, count - first, room.M + n * kBatch<T> + first);
      }
    }
    const int64_t* begin = plan.begins.data() + path.gy;
    for (int64_t j = 0; j < path.y_dims; ++j) {
      T* gy = room.gy + (path.y + j) * kBatch<T>;
      Across sum = load<Across>(gy);
      for (int64_t t = begin[j]; t < begin[j + 1]; ++t) {
        sum = sum + plan.terms[t].value * load<Across>(room.M + plan.terms[t].from * kBatch<T>);
      }
      store(gy, sum);
    }
  }
};

}  // namespace irrepnet
