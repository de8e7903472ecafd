// Linear maps of channels: out[z, w, k] = sum over paths and u of scale W[species(z), u, w] x[z, u, k], in blocks of
// columns [channel, component k]. It is bilinear, so two kernels give all derivatives: the map itself, for x and (with
// each matrix transposed) for the gradient to x, and the sum over rows that is the gradient to W.
//
// Both are products of matrices whose one operand is read number by number, at any strides, and whose other is laid
// out in vectors: the weights, or the gradient turned to [row, component, channel].

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "../shared/checks.h"
#include "linear_plan.h"
#include "pack.h"
#include "scratch.h"
#include "tile.h"

namespace irrepnet {
namespace {

using linear::Block;
using linear::Group;
using linear::Path;
using linear::Plan;
using linear::Rows;

constexpr int64_t kRows = 48;  // of a block: its features and results stay in the L2 cache

// Columns of a block of rows in which a group begins: component k of row z, [rows * dim], and padding.
IRREPNET_INLINE int64_t row_columns(const Rows& rows, const Block& block, int64_t columns, int64_t dim, int64_t* at) {
  int64_t n = 0;
  for (int64_t z = block.begin; z < block.end; ++z) {
    for (int64_t k = 0; k < dim; ++k) at[n++] = rows[z] * columns + k;
  }
  for (int64_t pad = n; pad < n + 12; ++pad) at[pad] = at[n - 1];
  return n;
}

template <typename T>
struct MapKernel {
  const Plan& plan;
  const Rows& rows;
  const std::vector<Block>& blocks;
  const T *x, *weights;
  T* out;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using Tile = Tile<T, bytes>;
    int64_t packed = 0, most = 1;
    for (const Group& g : plan.groups) {
      packed += g.depth() * rounded(g.mul, Tile::lanes);
      most = std::max(most, g.dim);
    }
    const Scratch<T> matrices(packed), sums((kRows * most + 12) * Tile::wide);
    const Scratch<int64_t> at(kRows * most + 12);
    for (int64_t b = begin; b < end; ++b) {
      const Block& block = blocks[b];
      if (b == begin || block.species != blocks[b - 1].species) {
        T* to = matrices;
        for (const Group& g : plan.groups) to = pack<bytes>(g, weights + block.species * plan.numel, to);
      }
      const T* matrix = matrices;
      for (const Group& g : plan.groups) {
        const int64_t count = row_columns(rows, block, plan.dim_in, g.dim, at);
        for (int64_t w = 0; w < g.mul; w += Tile::wide) {
          const int64_t channels = std::min<int64_t>(Tile::wide, g.mul - w);
          const int64_t width = std::min<int64_t>(rounded(channels, Tile::lanes), Tile::wide);
          if (width == Tile::wide) {
            multiply_all<T, bytes, 2>(x, g.columns.data(), g.depth(), at, count, matrix, sums);
          } else {
            multiply_all<T, bytes, 1>(x, g.columns.data(), g.depth(), at, count, matrix, sums);
          }
          matrix += g.depth() * width;
          const T* from = sums;
          for (int64_t z = block.begin; z < block.end; ++z, from += g.dim * width) {
            interleave(from, width, channels, g.dim, out + rows[z] * plan.dim_out + g.out + w * g.dim);
          }
        }
      }
    }
  }

  // The matrices of a group one below the other, cut into panels that are as wide as two vectors (the last: or one).
  template <int bytes>
  IRREPNET_INLINE T* pack(const Group& g, const T* from, T* to) const {
    using Tile = Tile<T, bytes>;
    for (int64_t w = 0; w < g.mul; w += Tile::wide) {
      const int64_t channels = std::min<int64_t>(Tile::wide, g.mul - w);
      const int64_t width = rounded(channels, Tile::lanes);
      for (const Path& p : g.paths) {
        const T* W = from + p.weights + w * p.stride_out;
        const T scale = static_cast<T>(p.scale);
        for (int64_t u = 0; u < p.mul_in; ++u, W += p.stride_in, to += width) {
          if (p.stride_out == 1) {
            for (int64_t n = 0; n < channels; ++n) to[n] = scale * W[n];
          } else {
            for (int64_t n = 0; n < channels; ++n) to[n] = scale * W[n * p.stride_out];
          }
        }
      }
    }
    return to;
  }
};

// Rows are summed in chunks whose size does not depend on the number of threads, each into its own place.
struct Chunk {
  Block block;
  int64_t place;  // in `partial`, or -1: the only one of its species, straight into the result
};

template <typename T>
struct WeightsKernel {
  const Plan& plan;
  const Rows& rows;
  const std::vector<Chunk>& chunks;
  const T *x, *g;
  T *partial, *out;

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using Tile = Tile<T, bytes>;
    int64_t widest = 1, most = 1, deepest = 1;
    for (const Group& group : plan.groups) {
      widest = std::max(widest, rounded(group.mul, Tile::lanes));
      most = std::max(most, group.dim);
      deepest = std::max(deepest, group.depth());
    }
    const Scratch<T> turned(kRows * most * widest), sums((deepest + 12) * Tile::wide);
    const Scratch<int64_t> steps(kRows * most + 12), at(deepest + 12);
    for (int64_t c = begin; c < end; ++c) {
      const Chunk& chunk = chunks[c];
      T* to = chunk.place < 0 ? out + chunk.block.species * plan.numel : partial + chunk.place * plan.numel;
      std::fill(to, to + plan.numel, T(0));
      for (int64_t first = chunk.block.begin; first < chunk.block.end; first += kRows) {
        const Block block{chunk.block.species, first, std::min(first + kRows, chunk.block.end)};
        for (const Group& group : plan.groups) {
          const int64_t count = row_columns(rows, block, plan.dim_in, group.dim, steps);
          for (int64_t u = 0; u < group.depth() + 12; ++u) at[u] = group.columns[std::min(u, group.depth() - 1)];
          for (int64_t w = 0; w < group.mul; w += Tile::wide) {
            const int64_t channels = std::min<int64_t>(Tile::wide, group.mul - w);
            const int64_t width = rounded(channels, Tile::lanes);
            T* gradient = turned;
            for (int64_t z = block.begin; z < block.end; ++z, gradient += group.dim * width) {
              separate(g + rows[z] * plan.dim_out + group.out + w * group.dim, width, channels, group.dim, gradient);
            }
            if (width == Tile::wide) {
              multiply_all<T, bytes, 2>(x, steps, count, at, group.depth(), turned, sums);
            } else {
              multiply_all<T, bytes, 1>(x, steps, count, at, group.depth(), turned, sums);
            }
            const T* from = sums;
            for (const Path& p : group.paths) {
              const T scale = static_cast<T>(p.scale);
              for (int64_t u = 0; u < p.mul_in; ++u, from += width) {
                T* row = to + p.weights + u * p.mul_out + w;
                for (int64_t n = 0; n < channels; ++n) row[n] += scale * from[n];
              }
            }
          }
        }
      }
    }
  }
};

template <typename Kernel>
void in_parallel(int64_t count, int64_t work, const Kernel& kernel) {
  const int64_t grain = std::max<int64_t>(1, 262144 / std::max<int64_t>(1, work));
  torch::stable::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) { run_widest(kernel, begin, end); });
}

Tensor checked(const char* op, const char* name, const Tensor& tensor, int64_t columns) {
  check_floating(op, name, tensor);
  check_last_axis(op, name, tensor, columns);
  STD_TORCH_CHECK(tensor.dim() == 2, op, " needs ", name, " with two axes; got ", shape_text(tensor), ".");
  return torch::stable::contiguous(tensor);
}

std::optional<Tensor> checked_species(const char* op, const std::optional<Tensor>& species, int64_t rows,
                                      int64_t num_species) {
  if (!species.has_value()) {
    STD_TORCH_CHECK(num_species == 1 || num_species == rows, op, " needs species or a set of weights for each of ", rows,
                    " rows; got ", num_species, " sets.");
    return std::nullopt;
  }
  const bool fits = species->scalar_type() == ScalarType::Long && species->dim() == 1 && species->size(0) == rows;
  STD_TORCH_CHECK(fits, op, " needs species as int64 [", rows, "]; got ", shape_text(*species), ".");
  return torch::stable::contiguous(*species);
}

template <typename T>
void fill_map(const Plan& plan, const Rows& rows, const Tensor& x, const Tensor& weights, Tensor& out) {
  const std::vector<Block> blocks = rows.blocks(kRows);
  prefer_large_pages(out.mutable_data_ptr<T>(), out.numel() * sizeof(T));
  const MapKernel<T> kernel{plan, rows, blocks, x.const_data_ptr<T>(), weights.const_data_ptr<T>(),
                            out.mutable_data_ptr<T>()};
  in_parallel(static_cast<int64_t>(blocks.size()), kRows * plan.work, kernel);
}

Tensor map(const Tensor& x_, const Tensor& weights_, const std::optional<Tensor>& species_,
           const std::vector<int64_t>& ints, const std::vector<double>& scales, bool transposed) {
  constexpr const char* op = "linear";
  const Plan plan(op, ints, scales, transposed);
  const Tensor x = checked(op, "x", x_, plan.dim_in), weights = checked(op, "weights", weights_, plan.numel);
  STD_TORCH_CHECK(x.scalar_type() == weights.scalar_type() && x.device() == weights.device(), op,
                  " needs x and weights of one dtype on one device.");
  const auto species = checked_species(op, species_, x.size(0), weights.size(0));
  int64_t reached = 0;
  for (const Group& g : plan.groups) reached += g.mul * g.dim;
  const std::vector<int64_t> sizes{x.size(0), plan.dim_out};
  Tensor out = reached == plan.dim_out ? torch::stable::new_empty(x, sizes) : torch::stable::new_zeros(x, sizes);
  const Rows rows(op, x.size(0), species, weights.size(0));
  if (x.scalar_type() == ScalarType::Float) {
    fill_map<float>(plan, rows, x, weights, out);
  } else {
    fill_map<double>(plan, rows, x, weights, out);
  }
  return out;
}

template <typename T>
void fill_weights(const Plan& plan, const Rows& rows, const Tensor& x, const Tensor& g, Tensor& out) {
  const int64_t size = rounded(std::max<int64_t>(8 * kRows, (x.size(0) + 15) / 16), kRows);
  std::vector<Chunk> chunks;
  int64_t places = 0;
  for (const Block& block : rows.blocks(size)) {
    const bool alone = rows.bounds[block.species + 1] - rows.bounds[block.species] <= size;
    chunks.push_back({block, alone ? -1 : places++});
  }
  Tensor partial = torch::stable::new_empty(x, {places, plan.numel});
  T *from = partial.mutable_data_ptr<T>(), *to = out.mutable_data_ptr<T>();
  const WeightsKernel<T> kernel{plan, rows, chunks, x.const_data_ptr<T>(), g.const_data_ptr<T>(), from, to};
  in_parallel(static_cast<int64_t>(chunks.size()), size * plan.work, kernel);
  for (const Chunk& chunk : chunks) {  // in order
    if (chunk.place < 0) continue;
    T* sum = to + chunk.block.species * plan.numel;
    for (int64_t n = 0; n < plan.numel; ++n) sum[n] += from[chunk.place * plan.numel + n];
  }
}

Tensor weights(const Tensor& x_, const Tensor& g_, const std::optional<Tensor>& species_,
               const std::vector<int64_t>& ints, const std::vector<double>& scales, int64_t num_species) {
  constexpr const char* op = "linear_weights";
  const Plan plan(op, ints, scales, false);
  const Tensor x = checked(op, "x", x_, plan.dim_in), g = checked(op, "g", g_, plan.dim_out);
  check_alike(op, "x and g", x, g);
  STD_TORCH_CHECK(num_species > 0 || x.size(0) == 0, op, " needs num_species > 0; got ", num_species, ".");
  const auto species = checked_species(op, species_, x.size(0), num_species);
  Tensor out = torch::stable::new_zeros(x, {num_species, plan.numel});
  const Rows rows(op, x.size(0), species, num_species);
  if (x.scalar_type() == ScalarType::Float) {
    fill_weights<float>(plan, rows, x, g, out);
  } else {
    fill_weights<double>(plan, rows, x, g, out);
  }
  return out;
}

}  // namespace
}  // namespace irrepnet

STABLE_TORCH_LIBRARY_IMPL(irrepnet, CPU, m) {
  m.impl("linear", TORCH_BOX(&irrepnet::map));
  m.impl("linear_weights", TORCH_BOX(&irrepnet::weights));
}
