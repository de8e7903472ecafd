// Four neighbouring rows of a table, weighed, for each edge: out[e] = sum_a b[e, a] table[row[e] + a].
// The form T(g, b, t) = sum_e sum_a b[e, a] g[e].t[row[e] + a] carries all derivatives: its gradients with respect to
// g, b and t are the three kernels, and each of their derivatives is another of them.

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "../shared/checks.h"
#include "pack.h"

namespace irrepnet {
namespace {

// A lambda is compiled for its caller's instruction set only if it is swallowed by it.
#define IRREPNET_LAMBDA __attribute__((always_inline))

constexpr int64_t kRows = 4;  // of the table that an edge reads

// Calls body(pack, column) for packs that cover the columns [begin, end): wide ones, single registers, single numbers.
template <typename T, int bytes, typename Body>
IRREPNET_INLINE void for_columns(int64_t begin, int64_t end, const Body& body) {
  using Wide = Pack<T, bytes>;
  using Narrow = Pack<T, bytes, 1>;
  using Single = Pack<T, sizeof(T), 1>;
  int64_t c = begin;
  for (; c + Wide::size <= end; c += Wide::size) body(Wide{}, c);
  for (; c + Narrow::size <= end; c += Narrow::size) body(Narrow{}, c);
  for (; c < end; ++c) body(Single{}, c);
}

template <typename V, typename T>
IRREPNET_INLINE V load(const T* from) {
  return *reinterpret_cast<const V*>(from);
}

template <typename V, typename T>
IRREPNET_INLINE void store(const V& pack, T* to) {
  *reinterpret_cast<V*>(to) = pack;
}

// Edges in the order of their rows, so that these stay in the nearest cache; equal ones keep their order.
std::vector<int64_t> edges_by_row(const int64_t* row, int64_t edges, int64_t table_rows) {
  std::vector<int64_t> next(table_rows + 1, 0), order(edges);
  for (int64_t e = 0; e < edges; ++e) ++next[row[e] + 1];
  for (int64_t k = 0; k < table_rows; ++k) next[k + 1] += next[k];
  for (int64_t e = 0; e < edges; ++e) order[next[row[e]]++] = e;
  return order;
}

// Rows of edges lie anywhere: the next one is fetched while one is worked on.
template <int write, typename T>
IRREPNET_INLINE void prefetch(const T* from, int64_t width) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t c = 0; c < width; c += line) __builtin_prefetch(from + c, write);
}

template <typename T>
struct ValuesKernel {
  const T *b, *table;
  const int64_t *row, *order;
  T* out;
  int64_t width;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    for (int64_t n = begin; n < end; ++n) {
      const int64_t e = order[n];
      const T w[kRows] = {b[e * kRows], b[e * kRows + 1], b[e * kRows + 2], b[e * kRows + 3]};
      const T* const t = table + row[e] * width;
      T* const to = out + e * width;
      if (n + 1 < end) prefetch<1>(out + order[n + 1] * width, width);
      for_columns<T, bytes>(0, width, [&](auto pack, int64_t c) IRREPNET_LAMBDA {
        using V = decltype(pack);
        V sum = w[0] * load<V>(t + c);
        for (int a = 1; a < kRows; ++a) sum = sum + w[a] * load<V>(t + a * width + c);
        store(sum, to + c);
      });
    }
  }
};

// The sum of the numbers of a register, in halves.
template <typename T, int bytes>
IRREPNET_INLINE T sum_lanes(const Pack<T, bytes, 1>& pack) {
  if constexpr (bytes == sizeof(T)) {
    return pack.part[0][0];
  } else {
    const auto* const halves = reinterpret_cast<const Pack<T, bytes / 2, 1>*>(&pack);
    return sum_lanes<T, bytes / 2>(halves[0] + halves[1]);
  }
}

template <typename T>
struct GradientBKernel {
  const T *g, *table;
  const int64_t *row, *order;
  T* out;
  int64_t width, edges;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using Wide = Pack<T, bytes>;
    using Narrow = Pack<T, bytes, 1>;
    for (int64_t n = begin; n < end; ++n) {
      const int64_t e = order[n];
      const T* const from = g + e * width;
      if (n + 1 < end) prefetch<0>(g + order[n + 1] * width, width);
      const T* const t = table + row[e] * width;
      Wide wide[kRows] = {Wide(T(0)), Wide(T(0)), Wide(T(0)), Wide(T(0))};
      int64_t c = 0;
      for (; c + Wide::size <= width; c += Wide::size) add(from, t, c, wide);
      Narrow narrow[kRows];
      for (int a = 0; a < kRows; ++a) narrow[a].part[0] = wide[a].part[0] + wide[a].part[1];
      for (; c + Narrow::size <= width; c += Narrow::size) add(from, t, c, narrow);
      for (int a = 0; a < kRows; ++a) {
        T sum = sum_lanes<T, bytes>(narrow[a]);
        for (int64_t k = c; k < width; ++k) sum += from[k] * t[a * width + k];
        out[e * kRows + a] = sum;
      }
    }
  }

  template <typename V>
  IRREPNET_INLINE void add(const T* from, const T* t, int64_t c, V* sums) const {
    const V& x = *reinterpret_cast<const V*>(from + c);
    for (int a = 0; a < kRows; ++a) sums[a] = sums[a] + x * *reinterpret_cast<const V*>(t + a * width + c);
  }
};

// Threads share columns, so each number of the table is summed in one order whatever their number.
template <typename T>
struct GradientTableKernel {
  const T *g, *b;
  const int64_t *row, *order;
  T* out;
  int64_t width, edges;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    for (int64_t n = 0; n < edges; ++n) {
      const int64_t e = order[n];
      const T w[kRows] = {b[e * kRows], b[e * kRows + 1], b[e * kRows + 2], b[e * kRows + 3]};
      const T* const from = g + e * width;
      T* const t = out + row[e] * width;
      if (n + 1 < edges) prefetch<0>(g + order[n + 1] * width + begin, end - begin);
      for_columns<T, bytes>(begin, end, [&](auto pack, int64_t c) IRREPNET_LAMBDA {
        using V = decltype(pack);
        const V x = load<V>(from + c);
        for (int a = 0; a < kRows; ++a) store(load<V>(t + a * width + c) + w[a] * x, t + a * width + c);
      });
    }
  }
};

struct Operands {
  Tensor first, second, row;
  int64_t edges, width;
};

void check_matrix(const char* op, const char* name, const Tensor& tensor) {
  check_floating(op, name, tensor);
  STD_TORCH_CHECK(tensor.dim() == 2, op, " needs ", name, " with two axes; got ", shape_text(tensor), ".");
}

// Returns the rows contiguous once each of them has been found to have three more behind it in the table.
Tensor checked_row(const char* op, const Tensor& row, int64_t edges, int64_t table_rows) {
  STD_TORCH_CHECK(row.scalar_type() == ScalarType::Long, op, " needs row in int64.");
  STD_TORCH_CHECK(row.dim() == 1 && row.size(0) == edges, op, " needs row [E = ", edges, "]; got ", shape_text(row), ".");
  const Tensor rows = torch::stable::contiguous(row);
  const int64_t* const data = rows.const_data_ptr<int64_t>();
  for (int64_t e = 0; e < edges; ++e) {
    STD_TORCH_CHECK(data[e] >= 0 && data[e] <= table_rows - kRows,
                    op, " needs row in 0..", table_rows - kRows, "; got ", data[e], " at edge ", e, ".");
  }
  return rows;
}

void check_two(const char* op, const char* names, const Tensor& a, const Tensor& b) {
  STD_TORCH_CHECK(a.scalar_type() == b.scalar_type(), op, " needs ", names, " of one dtype; got ",
                  torch::headeronly::toString(a.scalar_type()), " and ", torch::headeronly::toString(b.scalar_type()), ".");
}

int64_t grain(int64_t width) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width)); }

Tensor values(const Tensor& b, const Tensor& row, const Tensor& table) {
  constexpr const char* op = "radial_table";
  check_matrix(op, "b", b);
  check_matrix(op, "table", table);
  check_last_axis(op, "b", b, kRows);
  check_two(op, "b and table", b, table);
  const int64_t edges = b.size(0), width = table.size(1);
  const Tensor rows = checked_row(op, row, edges, table.size(0));
  const Tensor weights = torch::stable::contiguous(b), from = torch::stable::contiguous(table);
  Tensor out = torch::stable::new_empty(b, {edges, width});
  const auto order = edges_by_row(rows.const_data_ptr<int64_t>(), edges, table.size(0));
  const auto fill = [&](auto number) {
    using T = decltype(number);
    const ValuesKernel<T> kernel{weights.const_data_ptr<T>(), from.const_data_ptr<T>(), rows.const_data_ptr<int64_t>(),
                                 order.data(), out.mutable_data_ptr<T>(), width};
    torch::stable::parallel_for(0, edges, grain(width), [&](int64_t s, int64_t t) { run_widest(kernel, s, t); });
  };
  b.scalar_type() == ScalarType::Float ? fill(float{}) : fill(double{});
  return out;
}

Tensor gradient_b(const Tensor& grad, const Tensor& row, const Tensor& table) {
  constexpr const char* op = "radial_table_gradient_b";
  check_matrix(op, "g", grad);
  check_matrix(op, "table", table);
  check_last_axis(op, "g", grad, table.size(1));
  check_two(op, "g and table", grad, table);
  const int64_t edges = grad.size(0), width = table.size(1);
  const Tensor rows = checked_row(op, row, edges, table.size(0));
  const Tensor g = torch::stable::contiguous(grad), from = torch::stable::contiguous(table);
  Tensor out = torch::stable::new_empty(g, {edges, kRows});
  const auto order = edges_by_row(rows.const_data_ptr<int64_t>(), edges, table.size(0));
  const auto fill = [&](auto number) {
    using T = decltype(number);
    const GradientBKernel<T> kernel{g.const_data_ptr<T>(), from.const_data_ptr<T>(), rows.const_data_ptr<int64_t>(),
                                    order.data(), out.mutable_data_ptr<T>(), width, edges};
    torch::stable::parallel_for(0, edges, grain(width), [&](int64_t s, int64_t t) { run_widest(kernel, s, t); });
  };
  g.scalar_type() == ScalarType::Float ? fill(float{}) : fill(double{});
  return out;
}

Tensor gradient_table(const Tensor& grad, const Tensor& b, const Tensor& row, int64_t table_rows) {
  constexpr const char* op = "radial_table_gradient_table";
  check_matrix(op, "g", grad);
  check_matrix(op, "b", b);
  check_last_axis(op, "b", b, kRows);
  check_two(op, "g and b", grad, b);
  const int64_t edges = grad.size(0), width = grad.size(1);
  STD_TORCH_CHECK(b.size(0) == edges, op, " needs b [E = ", edges, ", 4]; got ", shape_text(b), ".");
  STD_TORCH_CHECK(table_rows >= 0, op, " needs table_rows >= 0; got ", table_rows, ".");
  const Tensor rows = checked_row(op, row, edges, table_rows);
  const Tensor g = torch::stable::contiguous(grad), weights = torch::stable::contiguous(b);
  Tensor out = torch::stable::new_zeros(g, {table_rows, width});
  const auto order = edges_by_row(rows.const_data_ptr<int64_t>(), edges, table_rows);
  const auto fill = [&](auto number) {
    using T = decltype(number);
    const GradientTableKernel<T> kernel{g.const_data_ptr<T>(), weights.const_data_ptr<T>(),
                                        rows.const_data_ptr<int64_t>(), order.data(), out.mutable_data_ptr<T>(), width,
                                        edges};
    torch::stable::parallel_for(0, width, std::max<int64_t>(32, grain(edges)),
                                [&](int64_t s, int64_t t) { run_widest(kernel, s, t); });
  };
  g.scalar_type() == ScalarType::Float ? fill(float{}) : fill(double{});
  return out;
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("radial_table", TORCH_BOX(&irrepnet::values));
  m.impl("radial_table_gradient_b", TORCH_BOX(&irrepnet::gradient_b));
  m.impl("radial_table_gradient_table", TORCH_BOX(&irrepnet::gradient_table));
}
