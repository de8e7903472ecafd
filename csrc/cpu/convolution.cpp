// Edges are walked by destination, some at a time (EdgeBatch): M is made for all of them at once, and a path is worked on
// for all of them before the next, its sums in registers. Forward: a thread owns destinations. Derivatives: a task owns
// channels (ConvolutionPlan::tasks), so that its sums at sources, at edges' weights and at destinations meet no other's;
// only gy sums over channels, and is kept apart for each task until the end. Nothing of size [E, out] ever exists, and
// every sum has one order, whatever the number of threads.

#include <torch/csrc/stable/library.h>

#include <optional>
#include <tuple>

#include "../shared/checks.h"
#include "convolution_derivatives.h"
#include "convolution_forward.h"

namespace irrepnet {
namespace {

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
    std::vector<bool> seen(edges.count);
    for (int64_t n = 0; n < edges.count && fits; ++n) {
      const int64_t e = edges.by_dst[n];
      fits = e >= 0 && e < edges.count && !seen[e] && edges.src[n] >= 0 && edges.src[n] < edges.sources;
      if (fits) seen[e] = true;
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
  const Tensor x = *call.padded(call.x);
  const auto none = [&] { return call.zeros({0}); };
  const auto dx_padded = call.padded(dx);
  const Tensor zeros = call.zeros({std::max({plan.dim_x, plan.dim_y, plan.weight_numel}) + kPad<T>});
  Tensor dout = second && needs.out ? call.zeros({edges.destinations, plan.columns_out}) : none();
  Tensor gx = needs.gx ? call.zeros({edges.sources, plan.dim_x}) : none();
  Tensor gy = needs.gy ? call.zeros({count, edges.count, plan.dim_y}) : none();
  std::vector<int64_t> w_sizes;
  if (call.w) w_sizes.assign(call.w->sizes().begin(), call.w->sizes().end());
  const bool fills = call.w && call.w->dim() == 2 && plan.fills_weights();  // else sums begin at zero
  Tensor gw = !needs.gw || !call.w ? none() : fills ? call.empty(w_sizes) : call.zeros(w_sizes);
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
