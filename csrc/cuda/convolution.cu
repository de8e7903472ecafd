#include <torch/csrc/stable/library.h>

#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "convolution_kernels.h"

namespace irrepnet {
namespace {

// The tensors of one call, checked; see csrc/cpu/convolution.cpp for the meaning of all arguments. Values of indices are
// not looked at: that would wait for the GPU, and edge_order has done it.
template <typename T>
struct Call {
  const char* op;
  Tensor x, y, src, by_dst, dst_ptr, tables;
  std::optional<Tensor> w;
  int64_t sources, destinations, edges, dim_out, weight_numel;
  std::vector<DevicePath> paths;  // from x to the output

  Call(const char* op, const Tensor& x_, const Tensor& y_, const std::optional<Tensor>& w_, const Tensor& src_,
       const Tensor& by_dst_, const Tensor& dst_ptr_, const Tensor& tables_, const std::vector<int64_t>& ints,
       int64_t dim_out)
      : op(op), x(rows("x", x_)), y(rows("y", y_)), src(indices("src", src_)), by_dst(indices("by_dst", by_dst_)),
        dst_ptr(indices("dst_ptr", dst_ptr_)), tables(like_x("tables", torch::stable::contiguous(tables_))),
        w(weights("weights", w_)), sources(x.size(0)), destinations(dst_ptr.numel() - 1), edges(src.numel()),
        dim_out(dim_out), weight_numel(w ? w->size(w->dim() - 1) : 0) {
    like_x("y", y);
    needs(destinations >= 0 && by_dst.numel() == edges && y.size(0) == edges, "one row for each edge");
    constexpr size_t kPathInts = 9;  // see csrc/cpu/convolution_plan.h
    needs(ints.size() % kPathInts == 0, "nine numbers for each path");
    needs(std::max({x.size(1), y.size(1), weight_numel, dim_out}) <= INT32_MAX, "rows of less than 2^31 numbers");
    int64_t table = 0;
    for (size_t n = 0; n < ints.size(); n += kPathInts) {
      const int64_t *p = ints.data() + n, mul = p[1], in = p[2], y_dims = p[4], out = p[6];
      needs(p[8] == 0, "weights that do not mix channels; on CUDA use backend='reference' for those that do");
      bool fits = mul > 0 && in > 0 && y_dims > 0 && out > 0 && p[7] >= -2 && p[0] >= 0 && p[3] >= 0 && p[5] >= 0;
      fits = fits && p[0] + mul * in <= x.size(1) && p[3] + y_dims <= y.size(1) && p[5] + mul * out <= dim_out;
      fits = fits && (p[7] < 0 || p[7] + mul <= weight_numel) && table + in * y_dims * out <= tables.numel();
      needs(fits, "paths within its tensors");
      const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
      const DevicePath path{narrow(p[0]), narrow(in),   narrow(p[5]), narrow(out), narrow(mul),
                            narrow(p[3]), narrow(y_dims), narrow(p[7]), table};
      if (p[7] > -2) paths.push_back(path);  // others are left out of this call
      table += in * y_dims * out;
    }
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
    return given->stride(given->dim() - 1) == 1 ? *given : torch::stable::contiguous(*given);
  }

  Tensor zeros(std::vector<int64_t> sizes) const { return torch::stable::new_zeros(x, sizes); }
};

template <typename T>
DeviceRows<T> view(const std::optional<Tensor>& tensor) {
  if (!tensor) return {nullptr, 0};
  return {tensor->template const_data_ptr<T>(), tensor->dim() == 1 ? 0 : tensor->stride(0)};
}

template <typename T>
void add_term(Terms<T>& terms, const DeviceRows<T>& x, const DeviceRows<T>& y, const DeviceRows<T>& w, bool tangent = false) {
  const int t = terms.count++;
  terms.x[t] = x, terms.y[t] = y, terms.w[t] = w, terms.tangent[t] = tangent;
}

// Calls body(paths) for at most kMostPaths at a time, those of one target together.
template <typename Body>
void for_units(std::vector<DevicePath> paths, const Body& body) {
  std::stable_sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) { return a.to_column < b.to_column; });
  DevicePaths chunk{};
  for (size_t n = 0; n < paths.size(); ++n) {
    if (chunk.count == 0 || chunk.path[chunk.count - 1].to_column != paths[n].to_column) chunk.begins[chunk.units++] = chunk.count;
    chunk.path[chunk.count++] = paths[n];
    chunk.begins[chunk.units] = chunk.count;
    if (chunk.count == kMostPaths || n + 1 == paths.size()) {
      body(chunk);
      chunk = DevicePaths{};
    }
  }
}

struct Sizes {
  int from = 0, to = 0, mul = 0;
  explicit Sizes(const std::vector<DevicePath>& paths) {
    for (const DevicePath& path : paths) {
      from = std::max(from, path.from_dims), to = std::max(to, path.to_dims), mul = std::max(mul, path.mul);
    }
  }
};

// out [nodes, columns] += the sum of terms over the edges of each node
template <typename T>
void gather(const Call<T>& call, const std::vector<DevicePath>& paths, bool transposed, const DeviceEdges& edges,
            int64_t nodes, const Terms<T>& terms, Tensor& out) {
  const Sizes most(paths);
  int tile = 4, warps = kMostWarps;
  const auto slice = [&] { return kWarp * most.to + tile * (kWarp + most.to) * most.from; };
  const auto bytes = [&] { return static_cast<int64_t>(warps * slice() * sizeof(T)); };
  while (bytes() > kMostShared && tile > 1) tile /= 2;
  while (bytes() > kMostShared && warps > 1) warps /= 2;
  const int pieces = (most.mul + kWarp - 1) / kWarp;
  for_units(paths, [&](const DevicePaths& chunk) {
    const int64_t tasks = nodes * chunk.units * pieces;
    launch(call.op, call.x, gather_kernel<T>, (tasks + warps - 1) / warps, warps * kWarp, bytes(), chunk, transposed,
           call.tables.template const_data_ptr<T>(), edges, terms, nodes, pieces, tile, slice(), most.from, most.to,
           out.mutable_data_ptr<T>(), out.size(1));
  });
}

// Edges in order of their sources. PyTorch sorts them; an op is handed the order by destination only.
struct BySource {
  Tensor order, ptr, dst;
};

template <typename T>
BySource by_source(const Call<T>& call) {
  using torch::stable::detail::from;
  using torch::stable::detail::to;
  std::array<StableIValue, 4> sort{from(call.src), from(std::make_optional(true)), from(int64_t(0)), from(false)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::sort", "stable", sort.data(), TORCH_ABI_VERSION));
  const Tensor sorted = to<Tensor>(sort[0]), order = to<Tensor>(sort[1]);
  Tensor ptr = torch::stable::new_empty(call.src, std::vector<int64_t>{call.sources + 1});
  launch(call.op, call.x, first_places_kernel, call.sources / 256 + 1, 256, 0, sorted.const_data_ptr<int64_t>(), call.edges,
         call.sources, ptr.mutable_data_ptr<int64_t>());
  Tensor dst = torch::stable::new_empty(call.src, std::vector<int64_t>{call.edges});
  launch(call.op, call.x, destinations_kernel, (call.edges + 255) / 256, 256, 0, call.by_dst.template const_data_ptr<int64_t>(),
         call.dst_ptr.template const_data_ptr<int64_t>(), call.destinations, call.edges, dst.mutable_data_ptr<int64_t>());
  return {order, ptr, dst};
}

std::vector<DevicePath> turned(std::vector<DevicePath> paths) {
  for (DevicePath& path : paths) {
    std::swap(path.from_column, path.to_column);
    std::swap(path.from_dims, path.to_dims);
  }
  return paths;
}

// gw and gy of the terms; see edge_kernel.
template <typename T>
void on_edges(const Call<T>& call, const Tensor& g, const Terms<T>& terms, const DeviceEdges& edges, Tensor* gw, Tensor* gy) {
  const Sizes most(call.paths);
  const int dim_y = static_cast<int>(call.y.size(1));
  int warps = std::min(kMostWarps, (most.mul + kWarp - 1) / kWarp);
  const int slice = dim_y + kWarp * (2 * most.to + most.from) + 2 * most.to * most.from;
  const auto bytes = [&] { return static_cast<int64_t>(warps * slice * sizeof(T)); };
  while (bytes() > kMostShared && warps > 1) --warps;
  for_units(call.paths, [&](const DevicePaths& chunk) {
    launch(call.op, call.x, edge_kernel<T>, call.edges, warps * kWarp, bytes(), chunk,
           call.tables.template const_data_ptr<T>(), edges, terms, view<T>(g), call.destinations, call.edges, slice, most.from,
           most.to, gw ? gw->mutable_data_ptr<T>() : nullptr, call.weight_numel, gy ? gy->mutable_data_ptr<T>() : nullptr, dim_y);
  });
}

template <typename T>
DeviceEdges by_destination(const Call<T>& call) {
  return {call.by_dst.template const_data_ptr<int64_t>(), call.dst_ptr.template const_data_ptr<int64_t>(),
          call.src.template const_data_ptr<int64_t>()};
}

struct Needs {
  bool gx, gy, gw, out;
  explicit Needs(int64_t mask) : gx(mask & 1), gy(mask & 2), gw(mask & 4), out(mask & 8) {}
};

// Gradients, or with `second` their directional derivatives along (dx, dy, dw) and that of the output; g is held.
template <typename T>
std::tuple<Tensor, Tensor, Tensor, Tensor> derivatives(const Call<T>& call, const Tensor& g, bool second,
                                                       const std::optional<Tensor>& dx, const std::optional<Tensor>& dy,
                                                       const std::optional<Tensor>& dw, const Needs& needs) {
  const auto x_ = view<T>(call.x), y_ = view<T>(call.y), w_ = view<T>(call.w), g_ = view<T>(g);
  const auto dx_ = view<T>(dx), dy_ = view<T>(dy), dw_ = view<T>(dw);
  const DeviceEdges edges = by_destination(call);
  Tensor empty = call.zeros({0}), out = empty, gx = empty, gy = empty, gw = empty;
  if (second && needs.out) {
    out = call.zeros({call.destinations, call.dim_out});
    Terms<T> terms{};
    if (dx) add_term(terms, dx_, y_, w_);
    if (dy) add_term(terms, x_, dy_, w_);
    if (dw) add_term(terms, x_, y_, dw_, true);
    gather(call, call.paths, false, edges, call.destinations, terms, out);
  }
  if (needs.gx) {
    gx = call.zeros({call.sources, call.x.size(1)});
    Terms<T> terms{};
    if (!second) add_term(terms, g_, y_, w_);
    if (dy) add_term(terms, g_, dy_, w_);
    if (dw) add_term(terms, g_, y_, dw_, true);
    const BySource by = by_source(call);
    const DeviceEdges back{by.order.template const_data_ptr<int64_t>(), by.ptr.template const_data_ptr<int64_t>(),
                           by.dst.template const_data_ptr<int64_t>()};
    gather(call, turned(call.paths), true, back, call.sources, terms, gx);
  }
  const bool has_gw = needs.gw && call.w;
  if (needs.gy || has_gw) {
    if (needs.gy) gy = call.zeros({call.edges, call.y.size(1)});
    if (has_gw) gw = call.zeros({call.edges, call.weight_numel});
    Terms<T> terms{};
    if (!second) add_term(terms, x_, y_, w_);
    if (dx) add_term(terms, dx_, y_, w_);
    if (dy || dw) add_term(terms, x_, dy_, dw_, true);
    on_edges(call, g, terms, edges, has_gw ? &gw : nullptr, needs.gy ? &gy : nullptr);
    if (has_gw && call.w->dim() == 1) gw = torch::stable::sum(gw, std::vector<int64_t>{0});
  }
  return {gx, gy, gw, out};
}

Tensor convolve(const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src, const Tensor& by_dst,
                const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out) {
  return with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const Call<T> call("convolve", x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out);
    Tensor out = call.zeros({call.destinations, dim_out});
    Terms<T> terms{};
    add_term(terms, view<T>(call.x), view<T>(call.y), view<T>(call.w));
    gather(call, call.paths, false, by_destination(call), call.destinations, terms, out);
    return out;
  });
}

// The gradient of the output, checked.
template <typename T>
Tensor checked_g(const Call<T>& call, const Tensor& g) {
  const Tensor dense = call.like_x("g", call.rows("g", g));
  call.needs(dense.size(0) == call.destinations && dense.size(1) == call.dim_out, "g [num_dst, dim_out]");
  return dense;
}

std::tuple<Tensor, Tensor, Tensor> convolve_backward(
    const Tensor& g, const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src,
    const Tensor& by_dst, const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out,
    int64_t needs) {
  return with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const Call<T> call("convolve_backward", x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out);
    auto [gx, gy, gw, out] =
        derivatives<T>(call, checked_g(call, g), false, std::nullopt, std::nullopt, std::nullopt, Needs(needs));
    return std::make_tuple(gx, gy, gw);
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> convolve_second(
    const std::optional<Tensor>& dx, const std::optional<Tensor>& dy, const std::optional<Tensor>& dw, const Tensor& g,
    const Tensor& x, const Tensor& y, const std::optional<Tensor>& w, const Tensor& src, const Tensor& by_dst,
    const Tensor& dst_ptr, const Tensor& tables, const std::vector<int64_t>& paths, int64_t dim_out, int64_t needs) {
  return with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    const Call<T> call("convolve_second", x, y, w, src, by_dst, dst_ptr, tables, paths, dim_out);
    const auto tangent = [&](const char* name, const std::optional<Tensor>& given, const Tensor& like) {
      if (!given) return given;
      check_alike("convolve_second", name, *given, like);
      call.needs(given->dim() == 2 && given->size(1) == like.size(1), "tangents of the shapes of their tensors");
      return std::optional<Tensor>(torch::stable::contiguous(*given));
    };
    call.needs(!dw || (w && dw->dim() == w->dim() && dw->size(dw->dim() - 1) == w->size(w->dim() - 1)), "dw like weights");
    return derivatives<T>(call, checked_g(call, g), true, tangent("dx and x", dx, call.x), tangent("dy and y", dy, call.y),
                          call.weights("dw", dw), Needs(needs));
  });
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CUDA, m) {
  m.impl("convolve", TORCH_BOX(&irrepnet::convolve));
  m.impl("convolve_backward", TORCH_BOX(&irrepnet::convolve_backward));
  m.impl("convolve_second", TORCH_BOX(&irrepnet::convolve_second));
}
