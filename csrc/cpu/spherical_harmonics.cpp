#include "../shared/spherical_harmonics.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <tuple>
#include <type_traits>

#include "../shared/checks.h"
#include "rows.h"

namespace irrepnet {
namespace {

// 1 / sqrt(x) for x from 1 to 3, in plain arithmetic that works on vectors: each step squares the error.
template <typename V, typename T>
IRREPNET_INLINE V inverse_root(const V& x) {
  V y = T(1.66848) - x * (T(0.93332) - x * (T(0.29808) - T(0.03613) * x));  // off by at most 0.003
  const V half = T(0.5) * x;
  constexpr int steps = sizeof(T) == 4 ? 2 : 3;
  for (int k = 0; k < steps; ++k) y = y * (T(1.5) - half * y * y);
  return y;
}

// Replaces points by unit vectors and returns one over their lengths. The zero vector stays zero, and its inverse is
// taken as zero: so all its derivatives are. Squares are of numbers next to 1, so they stay in range.
template <typename T, typename V>
IRREPNET_INLINE V normalize(V* point) {
  V inverse;
  for (int n = 0; n < V::registers; ++n) {
    auto &x = point[0].part[n], &y = point[1].part[n], &z = point[2].part[n];
    using Register = typename V::Register;
    const Register zero{}, one = zero + T(1);
    const Register a = x > -x ? x : -x, b = y > -y ? y : -y, c = z > -z ? z : -z;
    Register largest = a > b ? a : b;
    largest = c > largest ? c : largest;
    const auto nothing = largest < zero + std::numeric_limits<T>::min();
    largest = nothing ? one : largest;
    const Register scale = T(1) / largest;  // its rounding drops out
    x = x * scale, y = y * scale, z = z * scale;
    Register root = inverse_root<Register, T>(x * x + y * y + z * z);
    root = nothing ? zero : root;
    x = x * root, y = y * root, z = z * root;
    inverse.part[n] = root * scale;
  }
  return inverse;
}

// What the kernels share: the points, and what is asked of them.
template <typename T>
struct Points {
  const T* xyz;
  bool normalized;
  const HarmonicsTable<T>& harmonics;
  const GradientTable<T>& gradient;

  // Loads points and returns one over their lengths, or one.
  template <typename V>
  IRREPNET_INLINE V load(int64_t row, int64_t count, V* point) const {
    load_vectors(xyz + row * 3, count, point);
    return normalized ? normalize<T>(point) : V(T(1));
  }
};

template <typename V>
IRREPNET_INLINE V dot(const V* a, const V* b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// Memory for packs, aligned for the caches.
template <typename V>
class Room {
 public:
  explicit Room(int64_t size) : memory_(new char[size * sizeof(V) + 64]) {
    begin = reinterpret_cast<V*>((reinterpret_cast<uintptr_t>(memory_.get()) + 63) / 64 * 64);
  }
  V* begin;

 private:
  std::unique_ptr<char[]> memory_;
};

// Of high degrees two registers for each number would not fit the first cache.
template <typename Degree>
constexpr int registers_of = std::is_same_v<Degree, int64_t> ? 1 : 2;

template <typename T, typename Degree>
struct ValuesKernel {
  Points<T> points;
  Degree lmax;
  T* out;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes, registers_of<Degree>>;
    const int64_t dim = harmonics_dim(lmax);
    const Room<V> room(2 * dim);
    V point[3], *values = room.begin, *block = values + dim;
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      points.load(row, count, point);
      harmonics_sweep(point, values, lmax, points.harmonics);
      store_block(values, count, dim, out + row * dim, block);
    }
  }
};

// out = the gradient of g . Y(xyz) with respect to xyz.
template <typename T, typename Degree>
struct BackwardKernel {
  Points<T> points;
  Degree lmax;
  const T* g;
  T* out;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes, registers_of<Degree>>;
    const int64_t dim = harmonics_dim(lmax);
    const Room<V> room(3 * dim);
    V u[3], q[3], *r = room.begin, *a = r + dim, *block = a + dim;
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      const V inverse = points.load(row, count, u);
      load_block(g + row * dim, count, dim, a, block);
      harmonics_sweep(u, r, lmax, points.harmonics);
      gradient_sweep(a, r, q, lmax, points.gradient);
      if (points.normalized) {
        const V along = dot(q, u);
        for (int i = 0; i < 3; ++i) q[i] = inverse * (q[i] - along * u[i]);
      }
      store_vectors(q, count, out + row * 3);
    }
  }
};

// The gradients of v . backward(g, xyz) with respect to g and xyz: the slopes along v of the values and of backward.
template <typename T, typename Degree>
struct DoubleBackwardKernel {
  Points<T> points;
  Degree lmax;
  const T *v, *g;
  T *out_g, *out_xyz;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes, 1>;
    const int64_t dim = harmonics_dim(lmax);
    const Room<V> room(4 * dim);
    V u[3], w[3], *a = room.begin, *slopes = a, *block = a + dim;  // slopes take the place of g
    Dual<V> point[3], q[3], *r = reinterpret_cast<Dual<V>*>(block + dim);
    for (int64_t row = begin; row < end; row += V::size) {
      const int64_t count = std::min<int64_t>(V::size, end - row);
      const V inverse = points.load(row, count, u);
      load_vectors(v + row * 3, count, w);
      load_block(g + row * dim, count, dim, a, block);
      const V stretch = inverse * dot(u, w);  // what v does to the length, relative
      if (points.normalized) {
        for (int i = 0; i < 3; ++i) w[i] = inverse * w[i] - stretch * u[i];
      }
      for (int i = 0; i < 3; ++i) point[i] = {u[i], w[i]};
      harmonics_sweep(point, r, lmax, points.harmonics);
      gradient_sweep(a, r, q, lmax, points.gradient);
      for (int64_t k = 0; k < dim; ++k) slopes[k] = r[k].slope;
      store_block(slopes, count, dim, out_g + row * dim, block);
      if (points.normalized) {
        const Dual<V> along = dot(q, point);
        for (int i = 0; i < 3; ++i) q[i] = q[i] - along * point[i];
      }
      for (int i = 0; i < 3; ++i) {
        w[i] = points.normalized ? inverse * (q[i].slope - stretch * q[i].value) : q[i].slope;
      }
      store_vectors(w, count, out_xyz + row * 3);
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
    const Room<V> room(left_dim + right_dim + out_dim);
    V *a = room.begin, *b = a + left_dim, *c = b + right_dim;
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

// Makes a kernel for points and runs it; the commonest degrees are constants, so that loops over them unroll. Tables of
// a degree begin with those of the degrees below.
template <template <typename, typename> class Kernel, typename T, typename... Args>
void run_kernel(const Tensor& xyz, int64_t lmax, bool normalized, Args... args) {
  constexpr int64_t most = 12;
  static const HarmonicsTable<T> harmonics(most);
  static const GradientTable<T> gradient(most);
  const auto run = [&](auto degree, const HarmonicsTable<T>& first, const GradientTable<T>& second) {
    const Points<T> points{xyz.const_data_ptr<T>(), normalized, first, second};
    for_rows(xyz.numel() / 3, harmonics_dim(degree), Kernel<T, decltype(degree)>{points, degree, args...});
  };
  if (lmax == 1) return run(std::integral_constant<int64_t, 1>(), harmonics, gradient);
  if (lmax == 2) return run(std::integral_constant<int64_t, 2>(), harmonics, gradient);
  if (lmax == 3) return run(std::integral_constant<int64_t, 3>(), harmonics, gradient);
  if (lmax <= most) return run(lmax, harmonics, gradient);
  run(lmax, HarmonicsTable<T>(lmax), GradientTable<T>(lmax));
}

constexpr Slots kGradientV{0, 1, 2}, kGradientG{1, 0, 2}, kGradientR{2, 0, 1};

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
  STD_TORCH_CHECK(lmax >= 0 && lmax <= 10000, op, " needs lmax from 0 to 10000; got lmax = ", lmax, ".");
  return harmonics_dim(lmax);
}

Tensor values(const Tensor& xyz, int64_t lmax, bool normalize) {
  constexpr const char* op = "spherical_harmonics";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor points = checked(op, "xyz", xyz, 3);
  Tensor out = new_rows(points, dim);
  if (points.scalar_type() == ScalarType::Float) {
    run_kernel<ValuesKernel, float>(points, lmax, normalize, out.mutable_data_ptr<float>());
  } else {
    run_kernel<ValuesKernel, double>(points, lmax, normalize, out.mutable_data_ptr<double>());
  }
  return out;
}

Tensor backward(const Tensor& grad, const Tensor& xyz, int64_t lmax, bool normalize) {
  constexpr const char* op = "spherical_harmonics_backward";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor g = checked(op, "g", grad, dim), points = checked(op, "xyz", xyz, 3);
  check_alike(op, "g and xyz", g, points);
  Tensor out = new_rows(points, 3);
  if (points.scalar_type() == ScalarType::Float) {
    run_kernel<BackwardKernel, float>(points, lmax, normalize, g.const_data_ptr<float>(),
                                      out.mutable_data_ptr<float>());
  } else {
    run_kernel<BackwardKernel, double>(points, lmax, normalize, g.const_data_ptr<double>(),
                                       out.mutable_data_ptr<double>());
  }
  return out;
}

std::tuple<Tensor, Tensor> double_backward(
    const Tensor& tangent, const Tensor& grad, const Tensor& xyz, int64_t lmax, bool normalize) {
  constexpr const char* op = "spherical_harmonics_double_backward";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor v = checked(op, "v", tangent, 3), g = checked(op, "g", grad, dim), points = checked(op, "xyz", xyz, 3);
  check_alike(op, "v and xyz", v, points);
  check_alike(op, "g and xyz", g, points);
  Tensor out_g = new_rows(points, dim), out_xyz = new_rows(points, 3);
  if (points.scalar_type() == ScalarType::Float) {
    run_kernel<DoubleBackwardKernel, float>(points, lmax, normalize, v.const_data_ptr<float>(),
                                            g.const_data_ptr<float>(), out_g.mutable_data_ptr<float>(),
                                            out_xyz.mutable_data_ptr<float>());
  } else {
    run_kernel<DoubleBackwardKernel, double>(points, lmax, normalize, v.const_data_ptr<double>(),
                                             g.const_data_ptr<double>(), out_g.mutable_data_ptr<double>(),
                                             out_xyz.mutable_data_ptr<double>());
  }
  return {out_g, out_xyz};
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
  m.impl("spherical_harmonics_double_backward", TORCH_BOX(&irrepnet::double_backward));
  m.impl("spherical_harmonics_gradient_v", TORCH_BOX(&irrepnet::gradient_v));
  m.impl("spherical_harmonics_gradient_g", TORCH_BOX(&irrepnet::gradient_g));
  m.impl("spherical_harmonics_gradient_r", TORCH_BOX(&irrepnet::gradient_r));
}
