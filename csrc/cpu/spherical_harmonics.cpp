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

// The gradient with respect to v at r = R(xyz), with r never written to memory.
template <typename T>
struct BackwardKernel {
  const T *g, *xyz;
  T* out;
  int64_t lmax;
  const HarmonicsTable<T>& harmonics;
  const BilinearTable<T>& gradient;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes>;
    const int64_t dim = harmonics_dim(lmax);
    const std::unique_ptr<V[]> scratch(new V[3 + 2 * dim]);
    V *point = scratch.get(), *r = point + 3, *a = r + dim;
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      load_rows(xyz + row * 3, count, 3, point);
      load_rows(g + row * dim, count, dim, a);
      harmonics_sweep(point, r, lmax, harmonics);
      bilinear_sweep(a, r, point, gradient);
      store_rows(point, count, 3, out + row * 3);
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

constexpr Slots kGradientV{0, 1, 2}, kGradientG{1, 0, 2}, kGradientR{2, 0, 1};

template <typename T>
void fill_values(const Tensor& xyz, Tensor& out, int64_t lmax) {
  const HarmonicsTable<T> table(lmax);
  for_rows(xyz.numel() / 3, harmonics_dim(lmax),
           ValuesKernel<T>{xyz.const_data_ptr<T>(), out.mutable_data_ptr<T>(), lmax, table});
}

template <typename T>
void fill_backward(const Tensor& g, const Tensor& xyz, Tensor& out, int64_t lmax) {
  const HarmonicsTable<T> harmonics(lmax);
  const BilinearTable<T> gradient(lmax, kGradientV);
  for_rows(xyz.numel() / 3, harmonics_dim(lmax),
           BackwardKernel<T>{g.const_data_ptr<T>(), xyz.const_data_ptr<T>(), out.mutable_data_ptr<T>(), lmax,
                             harmonics, gradient});
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

// Checks by hand what the stable ABI does not, and returns the tensor contiguous.
Tensor checked(const char* op, const char* name, const Tensor& tensor, int64_t dim) {
  check_floating(op, name, tensor);
  check_last_axis(op, name, tensor, dim);
  return torch::stable::contiguous(tensor);
}

int64_t checked_dim(const char* op, int64_t lmax) {
  STD_TORCH_CHECK(lmax >= 0, op, " needs lmax >= 0; got lmax = ", lmax, ".");
  return harmonics_dim(lmax);
}

Tensor values(const Tensor& xyz, int64_t lmax) {
  constexpr const char* op = "spherical_harmonics";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor points = checked(op, "xyz", xyz, 3);
  Tensor out = new_rows(points, dim);
  if (points.scalar_type() == ScalarType::Float) {
    fill_values<float>(points, out, lmax);
  } else {
    fill_values<double>(points, out, lmax);
  }
  return out;
}

Tensor backward(const Tensor& grad, const Tensor& xyz, int64_t lmax) {
  constexpr const char* op = "spherical_harmonics_backward";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor g = checked(op, "g", grad, dim), points = checked(op, "xyz", xyz, 3);
  check_alike(op, "g and xyz", g, points);
  Tensor out = new_rows(points, 3);
  if (points.scalar_type() == ScalarType::Float) {
    fill_backward<float>(g, points, out, lmax);
  } else {
    fill_backward<double>(g, points, out, lmax);
  }
  return out;
}

// The gradient of T(v, g, r) with respect to the argument slots.out.
Tensor bilinear(const char* op, const Tensor& left, const Tensor& right, int64_t lmax, const Slots& slots) {
  constexpr const char* names[] = {"v", "g", "r"};
  const int64_t dim = checked_dim(op, lmax);
  const int64_t dims[] = {3, dim, dim};
  const Tensor a = checked(op, names[slots.left], left, dims[slots.left]);
  const Tensor b = checked(op, names[slots.right], right, dims[slots.right]);
  check_alike(op, "both tensors", a, b);
  Tensor out = new_rows(a, dims[slots.out]);
  if (a.scalar_type() == ScalarType::Float) {
    fill_bilinear<float>(a, b, out, lmax, slots);
  } else {
    fill_bilinear<double>(a, b, out, lmax, slots);
  }
  return out;
}

Tensor gradient_v(const Tensor& g, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_v", g, r, lmax, kGradientV);
}

Tensor gradient_g(const Tensor& v, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_g", v, r, lmax, kGradientG);
}

Tensor gradient_r(const Tensor& v, const Tensor& g, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_r", v, g, lmax, kGradientR);
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("spherical_harmonics", TORCH_BOX(&irrepnet::values));
  m.impl("spherical_harmonics_backward", TORCH_BOX(&irrepnet::backward));
  m.impl("spherical_harmonics_gradient_v", TORCH_BOX(&irrepnet::gradient_v));
  m.impl("spherical_harmonics_gradient_g", TORCH_BOX(&irrepnet::gradient_g));
  m.impl("spherical_harmonics_gradient_r", TORCH_BOX(&irrepnet::gradient_r));
}
