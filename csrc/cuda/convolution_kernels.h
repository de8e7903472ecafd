#pragma once

// The convolution's two kernels. All that it needs, in both passes and the second derivative, is a sum of products
// linear in x, y and w ("terms"), either gathered at nodes or left on the edges. A warp has a task of its own and a slice
// of shared memory of its own: 32 channels, one per thread. Every number has one owner that adds in a fixed order, so
// there are no atomics and results repeat to the bit.

#include <cstdint>

#include "../shared/convolution.h"
#include "launch.h"

namespace irrepnet {

constexpr int kWarp = 32, kMostWarps = 4, kMostPaths = 64, kMostTerms = 3;

// A path as seen from the side that is summed into: [mul][from_dims] at from_column -> [mul][to_dims] at to_column.
struct DevicePath {
  int32_t from_column, from_dims, to_column, to_dims, mul;
  int32_t y_column, y_dims, weights;  // weights: column, or -1
  int64_t table;                      // C[j][k][i] in `tables`
};

// Travels as an argument of the kernel: no copy, no state. Paths of one target block are neighbours: a unit.
struct DevicePaths {
  int32_t count, units;
  int32_t begins[kMostPaths + 1];
  DevicePath path[kMostPaths];
};

// Rows of features; step 0 is one row for all.
template <typename T>
struct DeviceRows {
  const T* data;
  int64_t step;
  __device__ const T* at(int64_t row) const { return data + row * step; }
};

template <typename T>
struct Terms {
  int count;
  DeviceRows<T> x[kMostTerms], y[kMostTerms], w[kMostTerms];
  bool tangent[kMostTerms];  // w is one: it is zero, not one, for a path without weights
};

// Edges of node n: order[p] for ptr[n] <= p < ptr[n + 1]; x lies at node from[e].
struct DeviceEdges {
  const int64_t *order, *ptr, *from;
};

// M[k][i] = sum_j C[j][k][i] y[j], or its transpose.
template <typename T>
__device__ void make_matrix(const DevicePath& path, bool transposed, const T* tables, const T* y, T* M) {
  const int size = path.from_dims * path.to_dims;
  for (int n = threadIdx.x % kWarp; n < size; n += kWarp) {
    T sum = 0;
    for (int j = 0; j < path.y_dims; ++j) sum += tables[path.table + j * size + n] * y[path.y_column + j];
    const int columns = transposed ? path.to_dims : path.from_dims;  // of C
    M[transposed ? (n % columns) * path.from_dims + n / columns : n] = sum;
  }
}

// to[0 ... count) = from[0 ... count), by one warp
template <typename T>
__device__ void copy_row(const T* from, int count, T* to) {
  for (int n = threadIdx.x % kWarp; n < count; n += kWarp) to[n] = from[n];
}

// out[k] += w sum_i M[k][i] x[i] of one channel; x is overwritten.
template <typename T>
__device__ void add_product(T* x, int dims, T w, const T* M, int rows, T* out) {
  switch (dims) {
    case 1: return path_forward<1, 1, T>(x, 1, 1, w, M, rows, 1, out, static_cast<T*>(nullptr));
    case 3: return path_forward<3, 1, T>(x, 3, 1, w, M, rows, 1, out, static_cast<T*>(nullptr));
    case 5: return path_forward<5, 1, T>(x, 5, 1, w, M, rows, 1, out, static_cast<T*>(nullptr));
    case 7: return path_forward<7, 1, T>(x, 7, 1, w, M, rows, 1, out, static_cast<T*>(nullptr));
    default: return path_forward<0, 1, T>(x, dims, 1, w, M, rows, 1, out, x);
  }
}

// out[n] += sum over terms, edges of n and paths of w (M(y) x). One warp per (node, unit, 32 channels); `tile` edges are
// made ready together.
template <typename T>
__global__ void __launch_bounds__(kWarp* kMostWarps) gather_kernel(
    const __grid_constant__ DevicePaths paths, bool transposed, const T* tables, DeviceEdges edges, Terms<T> terms,
    int64_t nodes, int pieces, int tile, int slice, int most_from, int most_to, T* out, int64_t columns) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  T* const sums = shared_memory<T>() + warp * slice;  // [32][to_dims]
  T* const xs = sums + kWarp * most_to;               // [tile][32][from_dims]
  T* const Ms = xs + tile * kWarp * most_from;        // [tile][to_dims][from_dims]
  const int64_t tasks = nodes * paths.units * pieces;
  for (int64_t task = int64_t(blockIdx.x) * warps + warp; task < tasks; task += int64_t(gridDim.x) * warps) {
    const int first = static_cast<int>(task % pieces) * kWarp, unit = static_cast<int>(task / pieces % paths.units);
    const int64_t node = task / pieces / paths.units;
    const DevicePath& target = paths.path[paths.begins[unit]];
    const int width = min(kWarp, target.mul - first), rows = target.to_dims;
    if (width <= 0) continue;
    for (int k = 0; k < rows; ++k) sums[lane * rows + k] = T(0);
    for (int p = paths.begins[unit]; p < paths.begins[unit + 1]; ++p) {
      const DevicePath& path = paths.path[p];
      const int dims = path.from_dims, size = dims * rows;
      for (int t = 0; t < terms.count; ++t) {
        if (path.weights < 0 && terms.tangent[t]) continue;
        for (int64_t begin = edges.ptr[node]; begin < edges.ptr[node + 1]; begin += tile) {
          const int count = static_cast<int>(min(int64_t(tile), edges.ptr[node + 1] - begin));
          __syncwarp();
          for (int n = 0; n < count; ++n) {
            const int64_t e = edges.order[begin + n];
            copy_row(terms.x[t].at(edges.from[e]) + path.from_column + first * dims, width * dims, xs + n * kWarp * dims);
            make_matrix(path, transposed, tables, terms.y[t].at(e), Ms + n * size);
          }
          __syncwarp();
          for (int n = 0; n < count && lane < width; ++n) {
            const int64_t e = edges.order[begin + n];
            const T w = path.weights < 0 ? T(1) : terms.w[t].at(e)[path.weights + first + lane];
            add_product(xs + (n * kWarp + lane) * dims, dims, w, Ms + n * size, rows, sums + lane * rows);
          }
        }
      }
    }
    __syncwarp();
    T* const target_row = out + node * columns + target.to_column + first * rows;
    for (int n = lane; n < width * rows; n += kWarp) target_row[n] += sums[n];
    __syncwarp();
  }
}

// The node whose edges hold a place of the order: the last n with ptr[n] <= place.
inline __device__ int64_t node_at(const int64_t* ptr, int64_t nodes, int64_t place) {
  int64_t first = 0;
  for (int64_t left = nodes; left > 1;) {
    const int64_t half = left / 2;
    if (ptr[first + half] <= place) first += half;
    left -= half;
  }
  return first;
}

// dst[e] of every edge
static __global__ void destinations_kernel(const int64_t* order, const int64_t* ptr, int64_t nodes, int64_t edges, int64_t* dst) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t p = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; p < edges; p += step) dst[order[p]] = node_at(ptr, nodes, p);
}

// ptr[n] is the first place of `sorted` that holds n or more, for n = 0 ... nodes
static __global__ void first_places_kernel(const int64_t* sorted, int64_t count, int64_t nodes, int64_t* ptr) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t n = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; n <= nodes; n += step) {
    int64_t first = 0;
    for (int64_t left = count; left > 0;) {
      const int64_t half = left / 2;
      if (sorted[first + half] < n) {
        first += half + 1;
        left -= half + 1;
      } else {
        left = half;
      }
    }
    ptr[n] = first;
  }
}

// What stays on an edge, with g at its destination:
//   gw[e, c] = sum over terms of g (M(y) x),  gy[e, j] += sum over terms, paths and channels of w g (C[j] x)
// One block per edge, one warp per 32 channels of a path. Terms may lack y, then they add nothing to gw, or w, then to gy.
template <typename T>
__global__ void __launch_bounds__(kWarp* kMostWarps) edge_kernel(
    const __grid_constant__ DevicePaths paths, const T* tables, DeviceEdges edges, Terms<T> terms, DeviceRows<T> g,
    int64_t nodes, int64_t count, int slice, int most_from, int most_to, T* gw, int64_t weight_numel, T* gy, int dim_y) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  T* const gys = shared_memory<T>() + warp * slice;  // [dim_y], what this warp adds
  T* const gs = gys + dim_y;                         // [32][to_dims]
  T* const xs = gs + kWarp * most_to;                // [32][from_dims]
  T* const zs = xs + kWarp * most_from;              // [32][to_dims]
  T* const M = zs + kWarp * most_to;                 // [to_dims][from_dims]
  T* const gM = M + most_to * most_from;             // the same
  for (int64_t place = blockIdx.x; place < count; place += gridDim.x) {
    const int64_t e = edges.order[place], from = edges.from[e], to = node_at(edges.ptr, nodes, place);
    for (int j = lane; j < dim_y; j += kWarp) gys[j] = T(0);
    __syncwarp();
    for (int p = 0; p < paths.count; ++p) {
      const DevicePath& path = paths.path[p];
      const int dims = path.from_dims, rows = path.to_dims, size = dims * rows;
      const bool weighted = path.weights >= 0;
      for (int n = lane; n < size; n += kWarp) gM[n] = T(0);
      for (int first = warp * kWarp; first < path.mul; first += warps * kWarp) {
        const int width = min(kWarp, path.mul - first);
        T grad = 0;
        for (int t = 0; t < terms.count; ++t) {
          const T *y = terms.y[t].data, *w = terms.w[t].data;
          __syncwarp();
          copy_row(g.at(to) + path.to_column + first * rows, width * rows, gs);
          copy_row(terms.x[t].at(from) + path.from_column + first * dims, width * dims, xs);
          if (y && gw && weighted) make_matrix(path, false, tables, terms.y[t].at(e), M);
          __syncwarp();
          if (lane < width) {
            T *x = xs + lane * dims, *z = zs + lane * rows;
            if (y && gw && weighted) {
              for (int k = 0; k < rows; ++k) z[k] = T(0);
              add_product(x, dims, T(1), M, rows, z);
              for (int k = 0; k < rows; ++k) grad += gs[lane * rows + k] * z[k];
            }
            const T weight = !weighted ? T(!terms.tangent[t]) : w ? terms.w[t].at(e)[path.weights + first + lane] : T(0);
            for (int i = 0; i < dims; ++i) x[i] *= weight;
          }
          __syncwarp();
          for (int n = lane; gy && n < size; n += kWarp) {
            const int k = n / dims, i = n % dims;
            T sum = 0;
            for (int c = 0; c < width; ++c) sum += gs[c * rows + k] * xs[c * dims + i];
            gM[n] += sum;
          }
        }
        if (gw && weighted && lane < width) gw[e * weight_numel + path.weights + first + lane] = grad;
      }
      for (int j = 0; gy && j < path.y_dims; ++j) {
        T sum = 0;
        for (int n = lane; n < size; n += kWarp) sum += tables[path.table + j * size + n] * gM[n];  // its own entries
        for (int step = kWarp / 2; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (lane == 0) gys[path.y_column + j] += sum;
      }
    }
    __syncthreads();
    for (int j = threadIdx.x; gy && j < dim_y; j += blockDim.x) {
      T sum = gy[e * dim_y + j];
      for (int n = 0; n < warps; ++n) sum += shared_memory<T>()[n * slice + j];
      gy[e * dim_y + j] = sum;
    }
    __syncthreads();
  }
}

}  // namespace irrepnet
