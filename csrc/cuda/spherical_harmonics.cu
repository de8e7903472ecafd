#include "../shared/spherical_harmonics.h"

#include <torch/csrc/stable/library.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>

#include "launch.h"

namespace irrepnet {
namespace {

// Tables as the GPU sees them, for the sweeps.
template <typename Item>
struct Span {
  const Item* items;
  __host__ __device__ const Item* data() const { return items; }
  __host__ __device__ const Item& operator[](int64_t n) const { return items[n]; }
};

template <typename T>
struct DeviceHarmonics {
  using Number = T;
  Span<typename HarmonicsTable<T>::Step> steps;
  Span<T> diagonal;
};

template <typename T>
struct DeviceGradient {
  using Number = T;
  Span<typename GradientTable<T>::Step> steps;
};

// Constants of the library, copied to a device when they are first needed there. They are never freed: at the end of
// the process, CUDA may be gone before they are.
template <typename T, typename Item, typename Make>
Span<Item> constants(const Tensor& on, int64_t kind, int64_t lmax, const Make& make) {
  static std::mutex mutex;
  static auto* const kept = new std::map<std::array<int64_t, 3>, Tensor>;
  const std::lock_guard<std::mutex> lock(mutex);
  const std::array<int64_t, 3> key{kind, lmax, on.get_device_index()};
  auto found = kept->find(key);
  if (found == kept->end()) {
    std::vector<Item> items = make();
    items.resize(items.size() + 1);  // no table is empty
    const auto bytes = static_cast<int64_t>(items.size() * sizeof(Item));
    const Tensor here = torch::stable::from_blob(items.data(), {bytes}, {1}, torch::stable::Device(torch::headeronly::DeviceType::CPU),
                                                 ScalarType::Byte);
    const Tensor there = torch::stable::to(here, std::nullopt, std::nullopt, on.device(), std::nullopt, false, true);
    found = kept->emplace(key, there).first;
  }
  return {reinterpret_cast<const Item*>(found->second.const_data_ptr())};
}

enum Kind { kSteps, kDiagonal, kGradient, kTerms, kBegins };  // of tables; those of different Slots count on

template <typename T>
struct Points {
  static constexpr T kLeast = std::numeric_limits<T>::min();
  const T* xyz;
  int64_t rows, lmax, dim;
  bool normalized;
  DeviceHarmonics<T> harmonics;
  DeviceGradient<T> gradient;

  Points(const Tensor& points, int64_t lmax, bool normalized)
      : xyz(points.const_data_ptr<T>()), rows(points.numel() / 3), lmax(lmax), dim(harmonics_dim(lmax)), normalized(normalized) {
    harmonics.steps = constants<T, typename HarmonicsTable<T>::Step>(points, kSteps, lmax, [&] { return HarmonicsTable<T>(lmax).steps; });
    harmonics.diagonal = constants<T, T>(points, kDiagonal, lmax, [&] { return HarmonicsTable<T>(lmax).diagonal; });
    gradient.steps = constants<T, typename GradientTable<T>::Step>(points, kGradient, lmax, [&] { return GradientTable<T>(lmax).steps; });
  }

  // Loads a point and returns one over its length, or one. The zero vector stays zero, and so does its inverse.
  __device__ T load(int64_t row, T* point) const {
    for (int i = 0; i < 3; ++i) point[i] = xyz[row * 3 + i];
    if (!normalized) return T(1);
    T largest = 0;
    for (int i = 0; i < 3; ++i) largest = std::fmax(largest, std::fabs(point[i]));
    if (largest < kLeast) {
      for (int i = 0; i < 3; ++i) point[i] = T(0);
      return T(0);
    }
    for (int i = 0; i < 3; ++i) point[i] /= largest;
    const T root = T(1) / std::sqrt(point[0] * point[0] + point[1] * point[1] + point[2] * point[2]);
    for (int i = 0; i < 3; ++i) point[i] *= root;
    return root / largest;
  }
};

template <typename V>
__device__ V dot(const V* a, const V* b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// The rows of a block lie in shared memory, every `stride` numbers, and move to and from memory side by side.
template <typename T>
__device__ void load_tile(const T* from, int64_t rows, int64_t dim, int stride, T* tile) {
  for (int64_t n = threadIdx.x; n < rows * dim; n += blockDim.x) tile[n / dim * stride + n % dim] = from[n];
}

template <typename T>
__device__ void store_tile(const T* tile, int64_t rows, int64_t dim, int stride, T* to) {
  for (int64_t n = threadIdx.x; n < rows * dim; n += blockDim.x) to[n] = tile[n / dim * stride + n % dim];
}

__device__ inline int64_t rows_here(int64_t first, int64_t rows) {
  return rows - first < blockDim.x ? rows - first : blockDim.x;
}

template <typename T>
__global__ void values_kernel(Points<T> points, int stride, T* out) {
  T* const tile = shared_memory<T>();
  for (int64_t first = int64_t(blockIdx.x) * blockDim.x; first < points.rows; first += int64_t(gridDim.x) * blockDim.x) {
    const int64_t count = rows_here(first, points.rows);
    if (threadIdx.x < count) {
      T point[3];
      points.load(first + threadIdx.x, point);
      harmonics_sweep(point, tile + threadIdx.x * stride, points.lmax, points.harmonics);
    }
    __syncthreads();
    store_tile(tile, count, points.dim, stride, out + first * points.dim);
    __syncthreads();
  }
}

// out = the gradient of g . Y(xyz) with respect to xyz
template <typename T>
__global__ void backward_kernel(Points<T> points, int stride, const T* g, T* out) {
  T *const tile = shared_memory<T>(), *const a = tile + threadIdx.x * 2 * stride, *const r = a + stride;
  for (int64_t first = int64_t(blockIdx.x) * blockDim.x; first < points.rows; first += int64_t(gridDim.x) * blockDim.x) {
    const int64_t count = rows_here(first, points.rows), row = first + threadIdx.x;
    load_tile(g + first * points.dim, count, points.dim, 2 * stride, tile);
    __syncthreads();
    if (threadIdx.x < count) {
      T u[3], q[3];
      const T inverse = points.load(row, u);
      harmonics_sweep(u, r, points.lmax, points.harmonics);
      gradient_sweep(a, r, q, points.lmax, points.gradient);
      const T along = points.normalized ? dot(q, u) : T(0);
      for (int i = 0; i < 3; ++i) out[row * 3 + i] = inverse * (q[i] - along * u[i]);
    }
    __syncthreads();
  }
}

// The gradients of v . backward(g, xyz) with respect to g and xyz: the slopes along v of the values and of backward.
template <typename T>
__global__ void double_backward_kernel(Points<T> points, int stride, const T* v, const T* g, T* out_g, T* out_xyz) {
  T *const tile = shared_memory<T>(), *const a = tile + threadIdx.x * 3 * stride;
  auto* const r = reinterpret_cast<Dual<T>*>(a + stride);
  for (int64_t first = int64_t(blockIdx.x) * blockDim.x; first < points.rows; first += int64_t(gridDim.x) * blockDim.x) {
    const int64_t count = rows_here(first, points.rows), row = first + threadIdx.x;
    load_tile(g + first * points.dim, count, points.dim, 3 * stride, tile);
    __syncthreads();
    if (threadIdx.x < count) {
      T u[3], w[3];
      Dual<T> point[3], q[3];
      const T inverse = points.load(row, u);
      for (int i = 0; i < 3; ++i) w[i] = v[row * 3 + i];
      const T stretch = points.normalized ? inverse * dot(u, w) : T(0);  // what v does to the length, relative
      for (int i = 0; i < 3; ++i) point[i] = {u[i], inverse * w[i] - stretch * u[i]};
      harmonics_sweep(point, r, points.lmax, points.harmonics);
      gradient_sweep(a, r, q, points.lmax, points.gradient);
      for (int64_t k = 0; k < points.dim; ++k) a[k] = r[k].slope;
      const Dual<T> along = points.normalized ? dot(q, point) : Dual<T>(T(0));
      for (int i = 0; i < 3; ++i) {
        q[i] = q[i] - along * point[i];
        out_xyz[row * 3 + i] = inverse * (q[i].slope - stretch * q[i].value);
      }
    }
    __syncthreads();
    store_tile(tile, count, points.dim, 3 * stride, out_g + first * points.dim);
    __syncthreads();
  }
}

// One gradient of T(v, g, r), see BilinearTable; a thread makes one number. Serves third derivatives and beyond.
template <typename T>
__global__ void bilinear_kernel(Span<typename BilinearTable<T>::Term> terms, Span<int64_t> begins, const T* left,
                                int64_t left_dim, const T* right, int64_t right_dim, T* out, int64_t out_dim, int64_t numel) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t n = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; n < numel; n += step) {
    const int64_t row = n / out_dim, k = n % out_dim;
    T sum = 0;
    for (int64_t t = begins[k]; t < begins[k + 1]; ++t) {
      sum += terms[t].value * left[row * left_dim + terms[t].left] * right[row * right_dim + terms[t].right];
    }
    out[n] = sum;
  }
}

// Runs a kernel with `columns` rows of harmonics in shared memory for each thread, as many threads as fit.
template <typename T, typename... Params, typename... Args>
void run_points(const char* op, const Tensor& on, void (*kernel)(Points<T>, int, Params...), const Points<T>& points,
                int64_t columns, const Args&... args) {
  const int64_t stride = points.dim | 1, bytes = columns * stride * sizeof(T);  // odd: no two threads on one bank
  int64_t threads = 128;
  while (threads > 1 && threads * bytes > kMostShared) threads /= 2;
  launch(op, on, kernel, (points.rows + threads - 1) / threads, threads, threads * bytes, points, static_cast<int>(stride), args...);
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

Tensor values(const Tensor& xyz, int64_t lmax, bool normalize) {
  constexpr const char* op = "spherical_harmonics";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor points = checked(op, "xyz", xyz, 3);
  Tensor out = new_rows(points, dim);
  with_dtype(points, [&](auto zero) {
    using T = decltype(zero);
    run_points(op, points, values_kernel<T>, Points<T>(points, lmax, normalize), 1, out.mutable_data_ptr<T>());
  });
  return out;
}

Tensor backward(const Tensor& grad, const Tensor& xyz, int64_t lmax, bool normalize) {
  constexpr const char* op = "spherical_harmonics_backward";
  const int64_t dim = checked_dim(op, lmax);
  const Tensor g = checked(op, "g", grad, dim), points = checked(op, "xyz", xyz, 3);
  check_alike(op, "g and xyz", g, points);
  Tensor out = new_rows(points, 3);
  with_dtype(points, [&](auto zero) {
    using T = decltype(zero);
    run_points(op, points, backward_kernel<T>, Points<T>(points, lmax, normalize), 2, g.const_data_ptr<T>(),
               out.mutable_data_ptr<T>());
  });
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
  with_dtype(points, [&](auto zero) {
    using T = decltype(zero);
    run_points(op, points, double_backward_kernel<T>, Points<T>(points, lmax, normalize), 3, v.const_data_ptr<T>(),
               g.const_data_ptr<T>(), out_g.mutable_data_ptr<T>(), out_xyz.mutable_data_ptr<T>());
  });
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
  with_dtype(a, [&](auto zero) {
    using T = decltype(zero);
    using Table = BilinearTable<T>;
    const auto terms = constants<T, typename Table::Term>(a, kTerms + 2 * slots.out, lmax, [&] { return Table(lmax, slots).terms; });
    const auto begins = constants<T, int64_t>(a, kBegins + 2 * slots.out, lmax, [&] { return Table(lmax, slots).begins; });
    launch(op, a, bilinear_kernel<T>, (out.numel() + 255) / 256, 256, 0, terms, begins, a.const_data_ptr<T>(), dims[slots.left],
           b.const_data_ptr<T>(), dims[slots.right], out.mutable_data_ptr<T>(), dims[slots.out], out.numel());
  });
  return out;
}

Tensor gradient_v(const Tensor& g, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_v", g, r, lmax, {0, 1, 2});
}

Tensor gradient_g(const Tensor& v, const Tensor& r, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_g", v, r, lmax, {1, 0, 2});
}

Tensor gradient_r(const Tensor& v, const Tensor& g, int64_t lmax) {
  return bilinear("spherical_harmonics_gradient_r", v, g, lmax, {2, 0, 1});
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CUDA, m) {
  m.impl("spherical_harmonics", TORCH_BOX(&irrepnet::values));
  m.impl("spherical_harmonics_backward", TORCH_BOX(&irrepnet::backward));
  m.impl("spherical_harmonics_double_backward", TORCH_BOX(&irrepnet::double_backward));
  m.impl("spherical_harmonics_gradient_v", TORCH_BOX(&irrepnet::gradient_v));
  m.impl("spherical_harmonics_gradient_g", TORCH_BOX(&irrepnet::gradient_g));
  m.impl("spherical_harmonics_gradient_r", TORCH_BOX(&irrepnet::gradient_r));
}
