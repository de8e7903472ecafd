// Forward: a thread owns destinations and sums their edges where the cache is near. Derivatives: a task owns channels
// (see ConvolutionPlan::tasks), so that its sums at sources, at edges' weights and at destinations meet no other's;
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
#include "lanes.h"
#include "rows.h"
#include "scratch.h"

namespace irrepnet {
namespace {

struct Edges {
  const int64_t *src, *by_dst, *dst_ptr;
  int64_t count, sources, destinations;
};

// Rows of a tensor, or one row for all (step 0); `end` is the end of their memory.
template <typename T>
struct Rows {
  const T *data, *end;
  int64_t step;

  IRREPNET_INLINE const T* at(int64_t row) const { return data + row * step; }
};

// M[k, i] = sum_j C[i, j, k] y[j] of every path of a block, one after another.
template <typename V, typename T>
IRREPNET_INLINE void matrices(const ConvolutionPlan<T>& plan, int64_t block, const T* y, T* M) {
  for (const Path* path : plan.of[block]) {
    for (int64_t n = 0; n < path->size; n += V::size) {
      const T* panel = plan.panels.data() + path->panel + n;
      V sum(T(0));
      for (int64_t j = 0; j < path->y_dims; ++j) sum = sum + y[path->y + j] * load<V>(panel + j * path->size);
      store(M + path->M + n, sum);
    }
  }
}

// Weights of a path lie apart from those of the next, too far for the processor to foresee.
template <typename T>
IRREPNET_INLINE void prefetch(const ConvolutionPlan<T>& plan, const Part& part, const T* weights) {
  const int64_t end = std::min(part.end, plan.ins[part.block].mul);
  for (const Path* path : plan.of[part.block]) {
    if (path->weights < 0 || path->mixes) continue;
    for (int64_t c = part.begin; c < end; c += kPad<T>) __builtin_prefetch(weights + path->weights + c);
  }
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
      path_forward<decltype(dims)::value>(x + c, in.dims, in.stride, V(T(1)), M, rows, in.stride, t + c,
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
  const std::vector<Part> parts;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t first, int64_t last) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    Scratch<T> sums(plan.dim_out), M(plan.longest_M), t(plan.most_dims * plan.widest);
    Scratch<T> lent(plan.most_dims * Wide::size);
    for (int64_t n = bounds[first]; n < bounds[last]; ++n) {
      std::fill(sums + 0, sums + plan.dim_out, T(0));
      const int64_t end = edges.dst_ptr[n + 1];
      for (const Part& part : parts) {
        for (int64_t p = edges.dst_ptr[n]; p < end; ++p) {
          const int64_t e = edges.by_dst[p];
          if (w.step && p + 1 < end) prefetch(plan, part, w.at(edges.by_dst[p + 1]));
          matrices<Narrow>(plan, part.block, y.at(e), +M);
          edge<Wide, Narrow>(part, x + edges.src[e] * plan.dim_x, w.at(e), M, sums, t, lent);
        }
      }
      for (const ChannelBlock& b : plan.outs) {
        turn(sums + b.at, b.stride, b.dims, b.mul, out + n * plan.columns_out + b.column, b.dims);
      }
    }
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void edge(const Part& part, const T* row, const T* weights, T* M, T* sums, T* t, T* lent) const {
    const ChannelBlock& in = plan.ins[part.block];
    for (const Path* path : plan.of[part.block]) {
      const ChannelBlock& to = plan.outs[path->out];
      if (path->mixes) {
        std::fill(t, t + to.dims * in.stride, T(0));
        multiply<Wide, Narrow>(in, row + in.at, M + path->M, to.dims, t, lent);
        with_dims<Narrow>(to.dims, [&](auto dims) IRREPNET_LAMBDA {
          mix<decltype(dims)::value, Narrow>(t, in.stride, in.mul, weights + path->weights, to.mul, w.end, to.dims,
                                             sums + to.at, to.stride, reinterpret_cast<Narrow*>(lent));
        });
        continue;
      }
      with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
        for_channels<Wide, Narrow>(part.begin, part.end, [&](int64_t c, auto as) IRREPNET_LAMBDA {
          using V = typename decltype(as)::type;
          path_forward<decltype(dims)::value>(
              row + in.at + c, in.dims, in.stride, weights_at<V>(*path, weights, c, in.mul, w.end), M + path->M, to.dims,
              to.stride, sums + to.at + c, reinterpret_cast<V*>(lent));
        });
      });
    }
  }
};

// Pointers to what the derivatives read and write. Those that are not wanted are null.
template <typename T>
struct Operands {
  const T *x, *dx;              // [sources, plan.dim_x], padded
  Rows<T> y, dy, w, dw;         // [E, ...]
  const T* g;                   // [destinations, plan.columns_out]
  T *dout, *gx, *gy, *gw;       // [destinations, columns_out], [sources, dim_x] padded, [tasks, E, dim_y], [E, W] or [W]
  int64_t gw_step;              // 0 where all edges share the weights
  const T* zeros;               // a row of any of these
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
    Scratch<T> g, sums, M, dM, t, dt, gt, dgt, nowhere, outer, gM, gy, lent;

    Room(const ConvolutionPlan<T>& plan, int64_t wide, int64_t narrow)
        : g(plan.dim_out), sums(plan.dim_out), M(plan.longest_M), dM(plan.longest_M), t(plan.most_dims * plan.widest),
          dt(t.size()), gt(t.size()), dgt(t.size()), nowhere(plan.dim_x), outer(plan.largest_matrix * narrow),
          gM(plan.largest_matrix), gy(pad_to(plan.dim_y, kPad<T>) * narrow),
          lent(plan.most_dims * (4 * wide + narrow + narrow * narrow) + pad_to(plan.dim_y, kPad<T>)) {}
  };

  template <int bytes>
  IRREPNET_INLINE void run(int64_t, int64_t) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    Room room(plan, Wide::size, Narrow::size);
    const int64_t count = static_cast<int64_t>(tasks.size());
    for (int64_t task = next++; task < count; task = next++) {
      for (int64_t n = 0; n < edges.destinations; ++n) node<Wide, Narrow>(task, n, room);
    }
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void node(int64_t task, int64_t n, Room& room) const {
    const int64_t begin = edges.dst_ptr[n], end = edges.dst_ptr[n + 1];
    const T* g = ops.g + n * plan.columns_out;
    outputs(task, [&](const ChannelBlock& b, int64_t c, int64_t count) {
      turn(g + b.column + c * b.dims, b.dims, count, b.dims, room.g + b.at + c, b.stride);
      if (second) for (int64_t k = 0; k < b.dims; ++k) std::fill_n(room.sums + b.at + k * b.stride + c, count, T(0));
    });
    for (const Part& part : tasks[task]) {
      for (int64_t p = begin; p < end; ++p) {
        const int64_t e = edges.by_dst[p];
        if (ops.w.step && p + 1 < end) prefetch(plan, part, ops.w.at(edges.by_dst[p + 1]));
        if (second && ops.dw.step && p + 1 < end) prefetch(plan, part, ops.dw.at(edges.by_dst[p + 1]));
        matrices<Narrow>(plan, part.block, ops.y.at(e), +room.M);
        if (second) matrices<Narrow>(plan, part.block, ops.dy.at(e), +room.dM);
        edge<Wide, Narrow>(part, e, room);
        if (ops.gy) flush<Narrow>(ops.gy + (task * edges.count + e) * plan.dim_y, room);
      }
    }
    if (!second || !ops.dout) return;
    T* out = ops.dout + n * plan.columns_out;
    outputs(task, [&](const ChannelBlock& b, int64_t c, int64_t count) {
      turn(room.sums + b.at + c, b.stride, b.dims, count, out + b.column + c * b.dims, b.dims);
    });
  }

  // Calls body(block, first channel, number of channels) for what a task's paths write to.
  template <typename Body>
  void outputs(int64_t task, const Body& body) const {
    for (const Part& part : tasks[task]) {
      for (const Path* path : plan.of[part.block]) {
        const ChannelBlock& to = plan.outs[path->out];
        const int64_t begin = path->mixes ? 0 : part.begin, end = path->mixes ? to.mul : std::min(part.end, to.mul);
        body(to, begin, end - begin);
      }
    }
  }

  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void edge(const Part& part, int64_t e, Room& room) const {
    const ChannelBlock& in = plan.ins[part.block];
    const int64_t at = edges.src[e] * plan.dim_x + in.at;
    const T *x = ops.x + at, *dx = ops.dx ? ops.dx + at : ops.zeros;
    T* gx = ops.gx ? ops.gx + at : +room.nowhere;
    T* gw = ops.gw ? ops.gw + e * ops.gw_step : nullptr;
    const T *w = ops.w.at(e), *dw = ops.dw.at(e);
    for (const Path* path : plan.of[part.block]) {
      const ChannelBlock& to = plan.outs[path->out];
      if (path->mixes) {
        mixed<Wide, Narrow>(*path, in, to, x, dx, w, dw, gx, gw, room);
      } else {
        const T *g = room.g + to.at, *M = room.M + path->M, *dM = room.dM + path->M;
        with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
          constexpr int I = decltype(dims)::value;
          for_channels<Wide, Narrow>(part.begin, part.end, [&](int64_t c, auto as) IRREPNET_LAMBDA {
            using V = typename decltype(as)::type;
            auto* lent = reinterpret_cast<V*>(+room.lent);
            const V weight = weights_at<V>(*path, w, c, in.mul, ops.w.end);
            V grad;
            if constexpr (second) {
              const V tangent = path->weights < 0 ? V(T(0)) : load_part<V>(dw + path->weights + c, in.mul - c, ops.dw.end);
              grad = path_second<I>(x + c, dx + c, in.dims, in.stride, weight, tangent, M, dM, to.dims, to.stride, g + c,
                                    room.sums + to.at + c, gx + c, room.t + c, lent);
            } else {
              grad = path_backward<I>(x + c, in.dims, in.stride, weight, M, to.dims, to.stride, g + c, gx + c, room.t + c,
                                      lent);
            }
            if (!gw || path->weights < 0) return;
            T* here = gw + path->weights + c;
            if (ops.gw_step == 0) grad = grad + load_part<V>(here, in.mul - c, here);
            store_part(here, grad, in.mul - c);
          });
          if (ops.gy) outer<I, Narrow>(room.t, in.stride, g, to.stride, part.begin, part.end, in.dims, to.dims, false, room);
        });
      }
      if (ops.gy) contract<Narrow>(*path, in.dims * to.dims, room);
    }
  }

  // A path whose weights mix channels: they stand between t = M x and the output.
  template <typename Wide, typename Narrow>
  IRREPNET_INLINE void mixed(const Path& path, const ChannelBlock& in, const ChannelBlock& to, const T* x, const T* dx,
                             const T* w, const T* dw, T* gx, T* gw, Room& room) const {
    const T *g = room.g + to.at, *M = room.M + path.M, *dM = room.dM + path.M;
    const T *W = w + path.weights, *dW = dw + path.weights;
    std::fill(room.t + 0, room.t + to.dims * in.stride, T(0));
    multiply<Wide, Narrow>(in, x, M, to.dims, +room.t, +room.lent);
    if (second) {
      std::fill(room.dt + 0, room.dt + to.dims * in.stride, T(0));
      multiply<Wide, Narrow>(in, dx, M, to.dims, +room.dt, +room.lent);
      multiply<Wide, Narrow>(in, x, dM, to.dims, +room.dt, +room.lent);
    }
    with_dims<Narrow>(to.dims, [&](auto dims) IRREPNET_LAMBDA {
      constexpr int K = decltype(dims)::value;
      auto* lent = reinterpret_cast<Narrow*>(+room.lent);
      mix_back<K, Narrow>(g, to.stride, in.mul, W, to.mul, ops.w.end, to.dims, +room.gt, in.stride, lent);
      const T* t = second ? +room.dt : +room.t;
      if (gw) mix_weights<K, Narrow>(t, in.stride, in.mul, g, to.stride, to.mul, to.dims, ops.gw_step == 0, gw + path.weights);
      if constexpr (second) {
        mix_back<K, Narrow>(g, to.stride, in.mul, dW, to.mul, ops.dw.end, to.dims, +room.dgt, in.stride, lent);
        T* out = room.sums + to.at;
        mix<K, Narrow>(+room.dt, in.stride, in.mul, W, to.mul, ops.w.end, to.dims, out, to.stride, lent);
        mix<K, Narrow>(+room.t, in.stride, in.mul, dW, to.mul, ops.dw.end, to.dims, out, to.stride, lent);
      }
    });
    for (int term = 0; term < (second ? 2 : 1); ++term) {  // M and dgt, then dM and gt
      const T *from = term ? dx : x, *matrix = term ? dM : M, *grad = second && !term ? +room.dgt : +room.gt;
      with_dims<Narrow>(in.dims, [&](auto dims) IRREPNET_LAMBDA {
        constexpr int I = decltype(dims)::value;
        for_channels<Wide, Narrow>(0, in.stride, [&](int64_t c, auto as) IRREPNET_LAMBDA {
          using V = typename decltype(as)::type;
          path_backward<I>(from + c, in.dims, in.stride, V(T(1)), matrix, to.dims, in.stride, grad + c, gx + c,
                           room.t + c, reinterpret_cast<V*>(+room.lent));
        });
        if (ops.gy) outer<I, Narrow>(room.t, in.stride, grad, in.stride, 0, in.stride, in.dims, to.dims, term, room);
      });
    }
  }

  // outer[k, i] = sum over channels of t[i] g[k], its lanes not summed yet
  template <int I, typename V>
  IRREPNET_INLINE void outer(const T* t, int64_t ts, const T* g, int64_t gs, int64_t begin, int64_t end, int64_t any,
                             int64_t rows, bool add, Room& room) const {
    const int64_t dims = I ? I : any;
    auto* to = reinterpret_cast<V*>(+room.outer);
    for (int64_t k = 0; k < rows; ++k, to += dims) {
      Column<I, V> sum(reinterpret_cast<V*>(+room.lent));
      for (int64_t i = 0; i < dims; ++i) sum[i] = add ? to[i] : V(T(0));
      for (int64_t c = begin; c < end; c += V::size) {
        const V gk = load<V>(g + k * gs + c);
        for (int64_t i = 0; i < dims; ++i) sum[i] = sum[i] + load<V>(t + i * ts + c) * gk;
      }
      for (int64_t i = 0; i < dims; ++i) to[i] = sum[i];
    }
  }

  // gy[j] += sum_ki C[i, j, k] outer[k, i], lanes not summed yet
  template <typename V>
  IRREPNET_INLINE void contract(const Path& path, int64_t used, Room& room) const {
    auto* vectors = reinterpret_cast<V*>(+room.outer);
    for (int64_t n = used; n < pad_to(used, V::size); ++n) vectors[n] = V(T(0));
    sum_lanes(vectors, used, +room.gM);
    auto* gy = reinterpret_cast<V*>(+room.gy) + path.y;
    const T* panel = plan.panels.data() + path.panel;
    for (int64_t j = 0; j < path.y_dims; ++j, panel += path.size) {
      V sum = gy[j];
      for (int64_t n = 0; n < used; n += V::size) sum = sum + load<V>(room.gM + n) * load<V>(panel + n);
      gy[j] = sum;
    }
  }

  template <typename V>
  IRREPNET_INLINE void flush(T* gy, Room& room) const {
    auto* vectors = reinterpret_cast<V*>(+room.gy);
    sum_lanes(vectors, plan.dim_y, +room.lent);
    for (int64_t j = 0; j < plan.dim_y; ++j) gy[j] += room.lent[j];
    for (int64_t j = 0; j < plan.dim_y; ++j) vectors[j] = V(T(0));
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

  Tensor zeros(std::vector<int64_t> sizes) const { return torch::stable::new_zeros(x, sizes); }

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
  Tensor out = call.plan.fills_out() ? torch::stable::new_empty(call.x, sizes) : call.zeros(sizes);
  const Tensor none = call.zeros({1});
  // Destinations are shared out by their edges.
  const int64_t threads = call.threads();
  std::vector<int64_t> bounds(threads + 1, edges.destinations);
  for (int64_t k = 0, n = 0; k < threads; ++k) {
    while (n < edges.destinations && edges.dst_ptr[n] + n < k * (edges.count + edges.destinations) / threads) ++n;
    bounds[k] = n;
  }
  const Forward<T> kernel{call.plan, edges, x.const_data_ptr<T>(), call.view(call.y, none), call.view(call.w, none),
                          out.mutable_data_ptr<T>(), bounds, call.plan.whole()};
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
  Tensor gw = !needs.gw || !call.w ? none : fills ? torch::stable::new_empty(call.x, w_sizes) : call.zeros(w_sizes);
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
