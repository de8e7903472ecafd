// Products of pairs of channels, row by row: with T(x, y, w, g) the sum over rows, paths, pairs (u, v) and components
// of w[uv] C[j, k, i] x[u, i] y[v, j] g[uv, k], or of w[uv, m] ... g[m, k] where weights mix the pairs, the op makes
// the gradient of T with respect to one of the four from the other three: the product itself (that to g), and all
// derivatives, of every order.

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../shared/checks.h"
#include "pair_kernel.h"
#include "pair_plan.h"

namespace irrepnet {
namespace {

using pairs::kG;
using pairs::kW;
using pairs::kX;
using pairs::kY;
using pairs::Piece;
using pairs::Plan;

constexpr const char* kOp = "pair_product";
constexpr int64_t kRows = 64;  // a multiple of every vector

// The arguments of one call: those that are given, checked.
struct Arguments {
  std::optional<Tensor> tensors[4];
  int64_t rows = -1, sets = 1;

  template <typename T>
  Arguments(const Plan<T>& plan, const std::optional<Tensor>* given, const Tensor& tables, int64_t num_sets) {
    for (int64_t n = 0; n < 4; ++n) {
      const bool wanted = n != plan.slot && (n != kW || plan.used_w > 0);
      STD_TORCH_CHECK(given[n].has_value() == wanted, kOp, " needs x, y, weights and g, but not the one of the slot.");
      if (!wanted) continue;
      check_floating(kOp, "features", *given[n]);
      check_last_axis(kOp, "features", *given[n], plan.columns[n]);
      const bool like = given[n]->scalar_type() == tables.scalar_type() && given[n]->device() == tables.device();
      STD_TORCH_CHECK(like && given[n]->dim() == 2, kOp, " needs features [rows, columns] of one dtype on one device.");
      tensors[n] = torch::stable::contiguous(*given[n]);
      if (n == kW) continue;
      STD_TORCH_CHECK(rows < 0 || rows == given[n]->size(0), kOp, " needs features of as many rows.");
      rows = given[n]->size(0);
    }
    if (plan.slot == kW) sets = num_sets;
    if (tensors[kW]) sets = tensors[kW]->size(0);
    const bool fits = sets > 0 ? rows % sets == 0 : rows == 0 && sets == 0;
    STD_TORCH_CHECK(fits, kOp, " needs sets of weights for parts of one size; got ", sets, " for ", rows, " rows.");
  }

  // Rows of each set, in pieces of `size`.
  std::vector<Piece> pieces(bool own_weights, int64_t size) const {
    std::vector<Piece> found;
    const int64_t each = own_weights ? rows : rows / std::max<int64_t>(sets, 1);
    for (int64_t set = 0; each > 0 && set * each < rows; ++set) {
      for (int64_t begin = 0; begin < each; begin += size) {
        found.push_back({set, set * each + begin, set * each + std::min(begin + size, each)});
      }
    }
    return found;
  }
};

template <typename T>
Tensor compute(const std::optional<Tensor>* given, const Tensor& tables, const std::vector<int64_t>& ints, int64_t slot,
               int64_t num_sets) {
  const Plan<T> plan(kOp, ints, tables, slot);
  const Arguments arguments(plan, given, tables, num_sets);
  // The weights of a single row are those of all rows: they are read along their channels then.
  const bool own = plan.used_w > 0 && arguments.sets == arguments.rows && arguments.rows != 1;
  const bool sums = slot == kW && !own;
  const int64_t each = arguments.rows / std::max<int64_t>(arguments.sets, 1);
  // Sums over rows have sixteen parts at most; else what fits a cache.
  const int64_t size = sums ? std::max(8 * kRows, (each / 16 + kRows) / kRows * kRows) : kRows;
  const std::vector<Piece> pieces = arguments.pieces(own, size);
  const int64_t count = static_cast<int64_t>(pieces.size()), columns = plan.columns[slot];
  const bool fills = slot == kX || slot == kY || (slot == kG ? plan.used_g : plan.used_w) == columns;
  const std::vector<int64_t> sizes{slot == kW ? arguments.sets : arguments.rows, columns};
  Tensor out = fills && !sums ? torch::stable::new_empty(tables, sizes) : torch::stable::new_zeros(tables, sizes);
  Tensor parts = torch::stable::new_empty(tables, {sums ? count : 0, columns});
  T *to = out.template mutable_data_ptr<T>(), *from = parts.template mutable_data_ptr<T>();
  prefer_large_pages(to, out.numel() * sizeof(T));
  pairs::Kernel<T> kernel{plan, pieces, {}, sums ? from : to, own};
  for (int n = 0; n < 4; ++n) {
    const auto& tensor = arguments.tensors[n];
    kernel.given[n] = tensor ? tensor->template const_data_ptr<T>() : nullptr;
  }
  const int64_t grain = std::max<int64_t>(1, 262144 / (size * plan.work));
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) { run_widest(kernel, begin, end); });
  for (int64_t c = 0; sums && c < count; ++c, from += columns) {  // in order
    for (int64_t n = 0; n < columns; ++n) to[pieces[c].set * columns + n] += from[n];
  }
  return out;
}

Tensor pair_product(const std::optional<Tensor>& x, const std::optional<Tensor>& y, const std::optional<Tensor>& w,
                    const std::optional<Tensor>& g, const Tensor& tables_, const std::vector<int64_t>& ints, int64_t slot,
                    int64_t sets) {
  check_floating(kOp, "tables", tables_);
  const std::optional<Tensor> given[4] = {x, y, w, g};
  const Tensor tables = torch::stable::contiguous(tables_);
  if (tables.scalar_type() == ScalarType::Double) return compute<double>(given, tables, ints, slot, sets);
  return compute<float>(given, tables, ints, slot, sets);
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) { m.impl("pair_product", TORCH_BOX(&irrepnet::pair_product)); }
