#include "../shared/spherical_harmonics.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "../shared/checks.h"
#include "rows.h"

namespace irrepnet {
namespace {

// Runs kernel<T>::operator() over blocks of rows.
template <typename T>
struct ValuesBody {
  const T* xyz;
  T* out;
  int64_t rows, lmax;
  const HarmonicsTable<T>& table;
  T* scratch;

  IRREPNET_INLINE void operator()(int64_t begin, int64_t end) const {
    constexpr int W = kLanes<T>;
    const int64_t dim = harmonics_dim(lmax);
    T* point = scratch;
    T* values = scratch + 3 * W;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * W, count = std::min<int64_t>(W, rows - first);
      load_rows<W>(xyz + first * 3, 3, count, point);
      harmonics_sweep<W>(point, values, lmax, table);
      store_rows<W>(values, dim, count, out + first * dim);
    }
  }
};

template <typename T>
struct BilinearBody {
  const T *left, *right;
  T* out;
  int64_t rows, left_dim, right_dim, out_dim;
  const BilinearTable<T>& table;
  T* scratch;

  IRREPNET_INLINE void operator()(int64_t begin, int64_t end) const {
    constexpr int W = kLanes<T>;
    T* u = scratch;
    T* w = u + left_dim * W;
    T* o = w + right_dim * W;
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * W, count = std::min<int64_t>(W, rows - first);
      load_rows<W>(left + first * left_dim, left_dim, count, u);
      load_rows<W>(right + first * right_dim, right_dim, count, w);
      bilinear_sweep<W>(u, w, o, table);
      store_rows<W>(o, out_dim, count, out + first * out_dim);
    }
  }
};

template <typename T>
void values(const Tensor& xyz, Tensor& out, int64_t lmax) {
  constexpr int W = kLanes<T>;
  const HarmonicsTable<T> table(lmax);
  const int64_t rows = xyz.numel() / 3;
  const T* in = xyz.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, (rows + W - 1) / W, 64, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch((3 + harmonics_dim(lmax)) * W);
    run_best(ValuesBody<T>{in, to, rows, lmax, table, scratch.data()}, begin, end);
  });
}

Tensor spherical_harmonics(const Tensor& xyz, int64_t lmax) {
  constexpr const char* op = "spherical_harmonics";
  STD_TORCH_CHECK(lmax >= 0, op, " needs lmax >= 0; got ", lmax, ".");
  check_floating(op, "xyz", xyz);
  check_last_axis(op, "xyz", xyz, 3);
  const Tensor in = torch::stable::contiguous(xyz);
  Tensor out = new_rows(in, harmonics_dim(lmax));
  if (in.scalar_type() == ScalarType::Float) {
    values<float>(in, out, lmax);
  } else {
    values<double>(in, out, lmax);
  }
  return out;
}

template <typename T>
void bilinear(const Tensor& left, const Tensor& right, Tensor& out, int64_t lmax, const std::array<int, 3>& slots) {
  constexpr int W = kLanes<T>;
  const BilinearTable<T> table(lmax, slots);
  const int64_t l = left.size(left.dim() - 1), r = right.size(right.dim() - 1), o = out.size(out.dim() - 1);
  const int64_t rows = out.numel() / o;
  const T *a = left.const_data_ptr<T>(), *b = right.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, (rows + W - 1) / W, 64, [&](int64_t begin, int64_t end) {
    std::vector<T> scratch((l + r + o) * W);
    run_best(BilinearBody<T>{a, b, to, rows, l, r, o, table, scratch.data()}, begin, end);
  });
}

Tensor gradient(const char* op, const Tensor& left, const Tensor& right, int64_t lmax, const std::array<int, 3>& slots) {
  const char* names[] = {"v", "g", "r"};
  const auto dim = [&](int slot) { return slot == 0 ? 3 : harmonics_dim(lmax); };
  STD_TORCH_CHECK(lmax >= 0, op, " needs lmax >= 0; got ", lmax, ".");
  check_floating(op, names[slots[1]], left);
  check_last_axis(op, names[slots[1]], left, dim(slots[1]));
  check_last_axis(op, names[slots[2]], right, dim(slots[2]));
  check_alike(op, "both arguments", left, right);
  const Tensor a = torch::stable::contiguous(left), b = torch::stable::contiguous(right);
  Tensor out = new_rows(a, dim(slots[0]));
  if (a.scalar_type() == ScalarType::Float) {
    bilinear<float>(a, b, out, lmax, slots);
  } else {
    bilinear<double>(a, b, out, lmax, slots);
  }
  return out;
}

Tensor vjp(const Tensor& g, const Tensor& r, int64_t lmax) {
  return gradient("spherical_harmonics_vjp", g, r, lmax, {0, 1, 2});
}

Tensor jvp(const Tensor& v, const Tensor& r, int64_t lmax) {
  return gradient("spherical_harmonics_jvp", v, r, lmax, {1, 0, 2});
}

Tensor jvp_adjoint(const Tensor& v, const Tensor& g, int64_t lmax) {
  return gradient("spherical_harmonics_jvp_adjoint", v, g, lmax, {2, 0, 1});
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("spherical_harmonics", TORCH_BOX(&irrepnet::spherical_harmonics));
  m.impl("spherical_harmonics_vjp", TORCH_BOX(&irrepnet::vjp));
  m.impl("spherical_harmonics_jvp", TORCH_BOX(&irrepnet::jvp));
  m.impl("spherical_harmonics_jvp_adjoint", TORCH_BOX(&irrepnet::jvp_adjoint));
}
