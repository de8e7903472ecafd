#include "../shared/spherical_harmonics.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <memory>

#include "../shared/checks.h"
#include "rows.h"

namespace irrepnet {
namespace {

template <typename T>
struct ValuesKernel {
  const T* xyz;
  T* out;
  int64_t lmax;
  const HarmonicsTable<T>& table;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes>;
    const int64_t dim = harmonics_dim(lmax);
    const std::unique_ptr<V[]> scratch(new V[3 + dim]);
    V *point = scratch.get(), *values = point + 3;
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      load_rows(xyz + row * 3, count, 3, point);
      harmonics_sweep(point, values, lmax, table);
      store_rows(values, count, dim, out + row * dim);
    }
  }
};

template <typename T>
struct BilinearKernel {
  const T *left, *right;
  T* out;
  int64_t left_dim, right_dim, out_dim;
  const BilinearTable<T>& table;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes>;
    const std::unique_ptr<V[]> scratch(new V[left_dim + right_dim + out_dim]);
    V *a = scratch.get(), *b = a + left_dim, *c = b + right_dim;
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      load_rows(left + row * left_dim, count, left_dim, a);
      load_rows(right + row * right_dim, count, right_dim, b);
      bilinear_sweep(a, b, c, table);
      store_rows(c, count, out_dim, out + row * out_dim);
    }
  }
};

// Rows are independent, so the result does not depend on how threads share them. A thread gets no less than 32768
// numbers, PyTorch's own measure of work worth a thread.
template <typename Kernel>
void for_rows(int64_t rows, int64_t dim, const Kernel& kernel) {
  torch::stable::parallel_for(0, rows, std::max<int64_t>(1, 32768 / dim), [&](int64_t begin, int64_t end) {
    run_widest(kernel, begin, end);
  });
}

template <typename T>
void fill_values(const Tensor& xyz, Tensor& out, int64_t lmax) {
  const HarmonicsTable<T> table(lmax);
  for_rows(xyz.numel() / 3, harmonics_dim(lmax),
           ValuesKernel<T>{xyz.const_data_ptr<T>(), out.mutable_data_ptr<T>(), lmax, table});
}

template <typename T>
void fill_bilinear(const Tensor& left, const Tensor& right, Tensor& out, int64_t lmax, const Slots& slots) {
  const BilinearTable<T> table(lmax, slots);
  const int64_t dims[] = {3, harmonics_dim(lmax), harmonics_dim(lmax)};
  const int64_t dim = dims[slots.out];
  for_rows(out.numel() / dim, harmonics_dim(lmax),
           BilinearKernel<T>{left.const_data_ptr<T>(), right.const_data_ptr<T>(), out.mutable_data_ptr<T>(),
                             dims[slots.left], dims[slots.right], dim, table});
}

void check_lmax(const char* op, int64_t lmax) {
  STD_TORCH_CHECK(lmax >= 0, op, " needs lmax >= 0; got lmax = ", lmax, ".");
}

Tensor spherical_harmonics(const Tensor& xyz, int64_t lmax) {
  constexpr const char* op = "spherical_harmonics";
  check_lmax(op, lmax);
  check_floating(op, "xyz", xyz);
  check_last_axis(op, "xyz", xyz, 3);
  const Tensor in = torch::stable::contiguous(xyz);
  Tensor out = new_rows(in, harmonics_dim(lmax));
  if (in.scalar_type() == ScalarType::Float) {
    fill_values<float>(in, out, lmax);
  } else {
    fill_values<double>(in, out, lmax);
  }
  return out;
}

// A gradient of T(v, g, r) with respect to the argument slots.out.
Tensor bilinear(const char* op, const Tensor& left, const Tensor& right, int64_t lmax, const Slots& slots) {
  constexpr const char* names[] = {"v", "g", "r"};
  check_lmax(op, lmax);
  const int64_t dims[] = {3, harmonics_dim(lmax), harmonics_dim(lmax)};
  check_floating(op, names[slots.left], left);
  check_last_axis(op, names[slots.left], left, dims[slots.left]);
  check_last_axis(op, names[slots.right], right, dims[slots.right]);
  check_alike(op, "both tensors", left, right);
  const Tensor a = torch::stable::contiguous(left), b = torch::stable::contiguous(right);
  Tensor out = new_rows(a, dims[slots.out]);
  if (a.scalar_type() == ScalarType::Float) {
    fill_bilinear<float>(a, b, out, lmax, slots);
  } else {
    fill_bilinear<double>(a, b, out, lmax, slots);
  }
  return out;
}

Tensor vjp(const Tensor& g, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_vjp", g, r, lmax, {0, 1, 2});
}

Tensor jvp(const Tensor& v, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_jvp", v, r, lmax, {1, 0, 2});
}

Tensor jvp_adjoint(const Tensor& v, const Tensor& g, int64_t lmax) {
  return bilinear("spherical_harmonics_jvp_adjoint", v, g, lmax, {2, 0, 1});
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("spherical_harmonics", TORCH_BOX(&irrepnet::spherical_harmonics));
  m.impl("spherical_harmonics_vjp", TORCH_BOX(&irrepnet::vjp));
  m.impl("spherical_harmonics_jvp", TORCH_BOX(&irrepnet::jvp));
  m.impl("spherical_harmonics_jvp_adjoint", TORCH_BOX(&irrepnet::jvp_adjoint));
}
