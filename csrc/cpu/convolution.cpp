// Edges are walked by destination, some at a time (EdgeBatch): M is made for all of them at once, and a path is worked on
// for all of them before the next, its sums in registers. Forward: a thread owns destinations. Derivatives: a task owns
// channels (ConvolutionPlan::tasks), so that its sums at sources, at edges' weights and at destinations meet no other's;
// only gy sums over channels, and is kept apart for each task until the end. Nothing of size [E, out] ever exists, and
// every sum has one order, whatever the number of threads.

#include "../shared/convolution.h"

#include <torch/csrc/stable/library.h>

#include <atomic>
#include <optional>
#include <tuple>

#include "../shared/checks.h"
#include "connected.h"
#include "convolution_plan.h"
#include "edge_batch.h"
#include "lanes.h"
#include "rows.h"
#include "scratch.h"

namespace irrepnet {
namespace {

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

template <typename T>
struct Forward {
  const ConvolutionPlan<T>& plan;
  const Edges& edges;
  const T* x;  // [sources, plan.dim_x], padded
  Rows<T> y, w;
  T* out;  // [destinations, plan.columns_out]
  const std::vector<int64_t>& bounds;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t first, int64_t last) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    using Across = Pack<T, bytes, 64 / bytes>;  // one number of each edge of a batch
    EdgeWalk<T> walk(edges, bounds[first], bounds[last], plan.dim_out);
    Scratch<T> sums(walk.slots() * plan.dim_out), y_batch(plan.dim_y * kBatch<T>), M(plan.largest_matrix * kBatch<T>);
    Scratch<T> t(plan.most_dims * plan.widest), lent(plan.most_dims * Wide::size);
    EdgeBatch<T> batch;
    while (walk.next(batch)) {
      gather(y, plan.dim_y, batch, +y_batch);
      for (const Run& r : batch) {
        if (r.starts) std::fill_n(sums + r.slot * plan.dim_out, plan.dim_out, T(0));
      }
      for (const Path& path : plan.paths) {
        matrices<Across>(plan, path, +y_batch, +M);
        if (path.mixes) {
          mixed<Wide, Narrow>(path, batch, M, sums, t, lent);
        } else {
          direct<Wide, Narrow>(path, batch, M, sums, lent);
        }
      }
      for (const Run& r : batch) {
        if (!r.ends) continue;
        const T* from = sums + r.slot * plan.dim_out;
        for (const ChannelBlock& b : plan.outs) {
          turn(from + b.at, b.stride, b.dims, b.mul, out + r.node * plan.columns_out + b.column, b.dims);
        }
      }
    }
  }

  // Sums over the edges of a run stay in registers.
  template <int I, int K, typename V>
  IRREPNET_INLINE void run_edges(const Path& path, const EdgeBatch<T>& batch, const Run& r, int64_t c, const T* M,
                                 T* to) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    V sum[K];
    IRREPNET_UNROLL
    for (int k = 0; k < K; ++k) sum[k] = load<V>(to + k * block.stride);
    for (int64_t n = r.begin; n < r.end; ++n) {
      const T* row = x + batch.src[n] * plan.dim_x + in.at + c;
      const V weight = weights_at<V>(path, w.at(batch.edge[n]), c, in.mul, w.end);
      if (w.step && path.weights >= 0) __builtin_prefetch(w.at(batch.next[n]) + path.weights + c, 0, 2);
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
  IRREPNET_INLINE void direct(const Path& path, const EdgeBatch<T>& batch, const T* M, T* sums, T* lent) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
      with_dims<Narrow>(block.dims, [&](auto rows) IRREPNET_LAMBDA {
        constexpr int I = decltype(dims)::value, K = decltype(rows)::value;
        for (const Run& r : batch) {
          T* to = sums + r.slot * plan.dim_out + block.at;
          for_channels<Wide, Narrow>(0, in.stride, [&](int64_t c, auto as) IRREPNET_LAMBDA {
            using V = typename decltype(as)::type;
            if constexpr (I > 0 && K > 0) {
              run_edges<I, K, V>(path, batch, r, c, M, to + c);
            } else {
              for (int64_t n = r.begin; n < r.end; ++n) {
                path_forward<I, kBatch<T>>(x + batch.src[n] * plan.dim_x + in.at + c, in.dims, in.stride,
                                           weights_at<V>(path, w.at(batch.edge[n]), c, in.mul, w.end), M + n, block.dims,
                                           block.stride, to + c, reinterpret_cast<V*>(lent));
              }
            }
          });
        }
      });
    });
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void mixed(const Path& path, const EdgeBatch<T>& batch, const T* M, T* sums, T* t, T* lent) const {
    const ChannelBlock &in = plan.ins[path.block], &block = plan.outs[path.out];
    for (const Run& r : batch) {
      T* to = sums + r.slot * plan.dim_out + block.at;
      for (int64_t n = r.begin; n < r.end; ++n) {
        std::fill(t, t + block.dims * in.stride, T(0));
        multiply<Wide, Narrow>(in, x + batch.src[n] * plan.dim_x + in.at, M + n, block.dims, t, lent);
        const T* weights = w.at(batch.edge[n]) + path.weights;
        with_dims<Narrow>(block.dims, [&](auto rows) IRREPNET_LAMBDA {
          mix<decltype(rows)::value, Narrow>(t, in.stride, in.mul, weights, block.mul, w.end, block.dims, to,
                                             block.stride, reinterpret_cast<Narrow*>(lent));
        });
      }
    }
  }
};

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
        with_dims<Narrow>(to.dims, [&](auto rows) IRREPNET_LAMBDA {
          constexpr int K = decltype(rows)::value;
          mix_back<K, Narrow>(g, to.stride, in.mul, W, to.mul, ops.w.end, to.dims, +room.gt, in.stride, lent);
          if (at.gw) {
            T* gW = at.gw + path.weights;
            mix_weights<K, Narrow>(t, in.stride, in.mul, g, to.stride, to.mul, to.dims, ops.gw_step == 0, gW);
          }
          if constexpr (second) {
            mix_back<K, Narrow>(g, to.stride, in.mul, dW, to.mul, ops.dw.end, to.dims, +room.dgt, in.stride, lent);
            mix<K, Narrow>(+room.dt, in.stride, in.mul, W, to.mul, ops.w.end, to.dims, sums, to.stride, lent);
            mix<K, Narrow>(+room.t, in.stride, in.mul, dW, to.mul, ops.dw.end, to.dims, sums, to.stride, lent);
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

// Splits [0, rows) for threads and calls body(begin, end); small work stays on one.
template <typename Body>
void for_rows(int64_t rows, int64_t width, const Body& body) {
  torch::stable::parallel_for(0, rows, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width)), body);
}

// The tensors of one call, checked, and its edges.
template <typename T>
struct Call {
  const char* op;
  Tensor x, y, g;
  std::optional<Tensor> w;
  Tensor src, by_dst, dst_ptr, tables;
  Edges edges;
  ConvolutionPlan<T> plan;

  Call(const char* op, const std::optional<Tensor>& grad, const Tensor& x_, const Tensor& y_, const std::optional<Tensor>& w_,
       const Tensor& src_, const Tensor& by_dst_, const Tensor& dst_ptr_, const Tensor& tables_,
       const std::vector<int64_t>& paths, int64_t dim_out)
      : op(op), x(rows("x", x_)), y(rows("y", y_)), g(grad ? rows("g", *grad) : x), w(weights("weights", w_)),
        src(indices("src", src_)), by_dst(indices("by_dst", by_dst_)), dst_ptr(indices("dst_ptr", dst_ptr_)),
        tables(torch::stable::contiguous(tables_)),
        plan(op, paths, like_x("tables", tables), x.size(1), y.size(1), w ? w->size(w->dim() - 1) : 0, dim_out) {
    like_x("y", y);
    edges = {src.const_data_ptr<int64_t>(), by_dst.const_data_ptr<int64_t>(), dst_ptr.const_data_ptr<int64_t>(),
             src.numel(), x.size(0), dst_ptr.numel() - 1};
    needs(edges.destinations >= 0 && by_dst.numel() == edges.count && y.size(0) == edges.count, "one row for each edge");
    if (grad) {
      like_x("g", g);
      needs(g.size(0) == edges.destinations && g.size(1) == dim_out, "g [num_dst, dim_out]");
    }
    bool fits = edges.dst_ptr[0] == 0 && edges.dst_ptr[edges.destinations] == edges.count;
    for (int64_t n = 0; n < edges.destinations; ++n) fits &= edges.dst_ptr[n] <= edges.dst_ptr[n + 1];
    for (int64_t e = 0; e < edges.count; ++e) {
      fits &= edges.src[e] >= 0 && edges.src[e] < edges.sources && edges.by_dst[e] >= 0 && edges.by_dst[e] < edges.count;
    }
    needs(fits, "an EdgeOrder made by edge_order for these tensors");
  }

  void needs(bool good, const char* what) const { STD_TORCH_CHECK(good, op, " needs ", what, "."); }

  Tensor rows(const char* name, const Tensor& tensor) const {
    check_floating(op, name, tensor);
    STD_TORCH_CHECK(tensor.dim() == 2, op, " needs ", name, " [rows, columns]; got ", shape_text(tensor), ".");
    return torch::stable::contiguous(tensor);
  }

  const Tensor& like_x(const char* name, const Tensor& tensor) const {
    STD_TORCH_CHECK(tensor.scalar_type() == x.scalar_type() && tensor.device() == x.device(), op, " needs ", name,
                    " of the dtype and on the device of x.");
    return tensor;
  }

  Tensor indices(const char* name, const Tensor& tensor) const {
    STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Long && tensor.dim() == 1 && tensor.device() == x.device(), op,
                    " needs ", name, " as a row of int64 on the device of x; got ", shape_text(tensor), ".");
    return torch::stable::contiguous(tensor);
  }

  // Rows may repeat or lie apart, only their numbers must be neighbours.
  std::optional<Tensor> weights(const char* name, const std::optional<Tensor>& given) const {
    if (!given) return std::nullopt;
    check_floating(op, name, *given);
    like_x(name, *given);
    const bool fits = given->dim() == 1 || (given->dim() == 2 && given->size(0) == y.size(0));
    STD_TORCH_CHECK(fits, op, " needs ", name, " [E, W] or [W]; got ", shape_text(*given), ".");
    const bool dense = given->stride(given->dim() - 1) == 1 && (given->dim() == 1 || given->stride(0) >= 0);
    return dense ? *given : torch::stable::contiguous(*given);
  }

  static Rows<T> view(const std::optional<Tensor>& tensor, const Tensor& zeros) {
    if (!tensor) return {zeros.const_data_ptr<T>(), zeros.const_data_ptr<T>() + zeros.numel(), 0};
    const T* data = tensor->template const_data_ptr<T>();
    const int64_t step = tensor->dim() == 1 ? 0 : tensor->stride(0), last = tensor->dim() == 1 ? 0 : tensor->size(0) - 1;
    return {data, data + std::max<int64_t>(last, 0) * step + (tensor->numel() ? tensor->size(tensor->dim() - 1) : 0), step};
  }

  Tensor empty(const std::vector<int64_t>& sizes) const {
    Tensor out = torch::stable::new_empty(x, sizes);
    prefer_large_pages(out.mutable_data_ptr(), out.numel() * sizeof(T));
    return out;
  }

  Tensor zeros(const std::vector<int64_t>& sizes) const { return torch::stable::new_zeros(x, sizes); }

  // Columns of blocks -> rows of channels, [rows, plan.dim_x]; or nothing for nothing.
  std::optional<Tensor> padded(const std::optional<Tensor>& tensor) const {
    if (!tensor) return std::nullopt;
    Tensor out = zeros({tensor->size(0), plan.dim_x});
    const T* from = tensor->template const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    for_rows(tensor->size(0), plan.dim_x, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        for (const ChannelBlock& b : plan.ins) {
          turn(from + n * plan.columns_x + b.column, b.dims, b.mul, b.dims, to + n * plan.dim_x + b.at, b.stride);
        }
      }
    });
    return out;
  }

  Tensor unpadded(const Tensor& tensor) const {
    Tensor out = zeros({tensor.size(0), plan.columns_x});
    const T* from = tensor.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    for_rows(tensor.size(0), plan.dim_x, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        for (const ChannelBlock& b : plan.ins) {
          turn(from + n * plan.dim_x + b.at, b.stride, b.dims, b.mul, to + n * plan.columns_x + b.column, b.dims);
        }
      }
    });
    return out;
  }

  int64_t threads() const {
    const int64_t work = (edges.count + edges.destinations) * (plan.dim_out + plan.dim_x + plan.weight_numel);
    return std::clamp<int64_t>(work / 32768, 1, torch::stable::get_num_threads());
  }
};

// [tasks, E, dim_y] -> [E, dim_y], in the order of tasks
template <typename T>
Tensor sum_tasks(const Call<T>& call, const Tensor& parts, int64_t tasks) {
  const int64_t numel = call.edges.count * call.plan.dim_y;
  Tensor out = call.zeros({call.edges.count, call.plan.dim_y});
  const T* from = parts.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  for_rows(numel, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = 0; task < tasks; ++task) {
      for (int64_t n = begin; n < end; ++n) to[n] += from[task * numel + n];
    }
  });
  return out;
}

template <typename T>
Tensor forward(const Call<T>& call) {
  const Edges& edges = call.edges;
  const Tensor x = *call.padded(call.x);
  const std::vector<int64_t> sizes{edges.destinations, call.plan.columns_out};
  bool fills = call.plan.fills_out();
  for (int64_t n = 0; n < edges.destinations; ++n) fills &= edges.dst_ptr[n] < edges.dst_ptr[n + 1];
  Tensor out = fills ? call.empty(sizes) : call.zeros(sizes);
  const Tensor none = call.zeros({1});
  // Destinations are shared out by their edges, in whole groups.
  const int64_t threads = call.threads();
  std::vector<int64_t> bounds(threads + 1, edges.destinations);
  for (int64_t k = 0, n = 0; k < threads; ++k) {
    while (n < edges.destinations && edges.dst_ptr[n] + n < k * (edges.count + edges.destinations) / threads) ++n;
    bounds[k] = std::min(pad_to(n, kNodesApart), edges.destinations);
  }
  const Forward<T> kernel{call.plan, edges, x.const_data_ptr<T>(), call.view(call.y, none), call.view(call.w, none),
                          out.mutable_data_ptr<T>(), bounds};
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) { run_widest(kernel, begin, end); });
  return out;
}

struct Needs {
  bool gx, gy, gw, out;
  explicit Needs(int64_t mask) : gx(mask & 1), gy(mask & 2), gw(mask & 4), out(mask & 8) {}
};

// gx, gy, gw; and dout where `second`.
template <typename T, bool second>
std::tuple<Tensor, Tensor, Tensor, Tensor> derivatives(const Call<T>& call, const std::optional<Tensor>& dx,
                                                       const std::optional<Tensor>& dy, const std::optional<Tensor>& dw,
                                                       const Needs& needs) {
  const Edges& edges = call.edges;
  const ConvolutionPlan<T>& plan = call.plan;
  const auto tasks = plan.tasks();
  const int64_t count = static_cast<int64_t>(tasks.size());
  const Tensor x = *call.padded(call.x), none = call.zeros({0});
  const auto dx_padded = call.padded(dx);
  const Tensor zeros = call.zeros({std::max({plan.dim_x, plan.dim_y, plan.weight_numel}) + kPad<T>});
  Tensor dout = second && needs.out ? call.zeros({edges.destinations, plan.columns_out}) : none;
  Tensor gx = needs.gx ? call.zeros({edges.sources, plan.dim_x}) : none;
  Tensor gy = needs.gy ? call.zeros({count, edges.count, plan.dim_y}) : none;
  std::vector<int64_t> w_sizes;
  if (call.w) w_sizes.assign(call.w->sizes().begin(), call.w->sizes().end());
  const bool fills = call.w && call.w->dim() == 2 && plan.fills_weights();  // else sums begin at zero
  Tensor gw = !needs.gw || !call.w ? none : fills ? call.empty(w_sizes) : call.zeros(w_sizes);
  const auto pointer = [](bool wanted, Tensor& tensor) { return wanted ? tensor.mutable_data_ptr<T>() : nullptr; };
  const Operands<T> operands{
      x.const_data_ptr<T>(), dx_padded ? dx_padded->template const_data_ptr<T>() : nullptr,
      call.view(call.y, zeros), call.view(dy, zeros), call.view(call.w, zeros), call.view(dw, zeros),
      call.g.template const_data_ptr<T>(), pointer(second && needs.out, dout), pointer(needs.gx, gx), pointer(needs.gy, gy),
      pointer(needs.gw && call.w, gw), call.w && call.w->dim() == 2 ? plan.weight_numel : 0, zeros.const_data_ptr<T>()};
  std::atomic<int64_t> next{0};
  const Derivatives<T, second> kernel{plan, edges, operands, tasks, next};
  torch::stable::parallel_for(0, std::min(call.threads(), count), 1, [&](int64_t begin, int64_t end) {
    run_widest(kernel, begin, end);
  });
  if (needs.gx) gx = call.unpadded(gx);
  if (needs.gy) gy = sum_tasks<T>(call, gy, count);
  return {gx, gy, gw, dout};
}

template <typename Body>
auto with_dtype(const Tensor& tensor, const Body& body) {
  return tensor.scalar_type() == ScalarType::Double ? body(double()) : body(float());
}

Tensor convolve(const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src, const Tensor& by_dst,
                const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out) {
  return with_dtype(x, [&](auto zero) {
    return forward(Call<decltype(zero)>("convolve", std::nullopt, x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out));
  });
}

std::tuple<Tensor, Tensor, Tensor> convolve_backward(
    const Tensor& g, const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src,
    const Tensor& by_dst, const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out,
    int64_t needs) {
  return with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const Call<T> call("convolve_backward", g, x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out);
    auto [gx, gy, gw, dout] = derivatives<T, false>(call, std::nullopt, std::nullopt, std::nullopt, Needs(needs));
    return std::make_tuple(gx, gy, gw);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> convolve_second(
    const std::optional<Tensor>& dx, const std::optional<Tensor>& dy, const std::optional<Tensor>& dw, const Tensor& g,
    const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src, const Tensor& by_dst,
    const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out, int64_t needs) {
  return with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const Call<T> call("convolve_second", g, x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out);
    const auto tangent = [&](const char* name, const std::optional<Tensor>& given, const Tensor& like) {
      if (!given) return given;
      check_alike("convolve_second", name, *given, like);
      call.needs(given->dim() == 2 && given->size(1) == like.size(1), "tangents of the shapes of their tensors");
      return std::optional<Tensor>(torch::stable::contiguous(*given));
    };
    call.needs(!dw || (w && dw->dim() == w->dim() && dw->size(dw->dim() - 1) == w->size(w->dim() - 1)), "dw like weights");
    return derivatives<T, true>(call, tangent("dx and x", dx, call.x), tangent("dy and y", dy, call.y),
                                call.weights("dw", dw), Needs(needs));
  });
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("convolve", TORCH_BOX(&irrepnet::convolve));
  m.impl("convolve_backward", TORCH_BOX(&irrepnet::convolve_backward));
  m.impl("convolve_second", TORCH_BOX(&irrepnet::convolve_second));
}
