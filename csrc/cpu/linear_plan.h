#pragma once

// What a linear map does with columns and rows, worked out from the plan and the species at each call.

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "../shared/checks.h"

namespace irrepnet {
namespace linear {

struct Path {
  int64_t in, out, mul_in, mul_out, dim, weights;  // columns, channels, components, first weight
  int64_t stride_in, stride_out;                   // of the weights, along the channels
  double scale;
};

// All that is summed into one block of the output: channels u of the input, of one path after another.
struct Group {
  int64_t out, mul, dim;
  std::vector<Path> paths;
  std::vector<int64_t> columns;  // of each u: its component 0
  int64_t depth() const { return static_cast<int64_t>(columns.size()); }
};

// `plan` is dim_in, dim_out, weight_numel and six numbers for each path; see irrepnet/ops/linear.py.
struct Plan {
  int64_t dim_in, dim_out, numel, work = 0;  // multiplications per row
  std::vector<Group> groups;

  Plan(const char* op, const std::vector<int64_t>& plan, const std::vector<double>& scales, bool transposed) {
    STD_TORCH_CHECK(plan.size() == 3 + 6 * scales.size(), op, " needs a plan of 3 + 6 numbers per path.");
    dim_in = plan[0], dim_out = plan[1], numel = plan[2];
    for (size_t n = 0; n < scales.size(); ++n) {
      const int64_t* v = plan.data() + 3 + 6 * n;
      Path p{v[0], v[1], v[2], v[3], v[4], v[5], v[3], 1, scales[n]};
      constexpr int64_t most = int64_t(1) << 30;  // sums and products of two stay in range
      const bool fits = *std::min_element(v, v + 6) >= 0 && *std::max_element(v, v + 6) < most && p.dim > 0 &&
                        p.mul_in > 0 && p.mul_out > 0 && p.in + p.mul_in * p.dim <= dim_in &&
                        p.out + p.mul_out * p.dim <= dim_out && p.weights + p.mul_in * p.mul_out <= numel;
      STD_TORCH_CHECK(fits, op, " got a plan whose path ", n, " lies outside its tensors.");
      work += p.mul_in * p.mul_out * p.dim;
      if (transposed) {
        std::swap(p.in, p.out), std::swap(p.mul_in, p.mul_out), std::swap(p.stride_in, p.stride_out);
      }
      auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.out == p.out; });
      if (group == groups.end()) group = groups.insert(group, Group{p.out, p.mul_out, p.dim, {}, {}});
      STD_TORCH_CHECK(group->mul == p.mul_out && group->dim == p.dim, op, " got a plan with overlapping blocks.");
      group->paths.push_back(p);
      for (int64_t u = 0; u < p.mul_in; ++u) group->columns.push_back(p.in + u * p.dim);
    }
    std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) { return a.out < b.out; });
    for (size_t n = 1; n < groups.size(); ++n) {
      const Group& before = groups[n - 1];
      STD_TORCH_CHECK(before.out + before.mul * before.dim <= groups[n].out, op, " got a plan with overlapping blocks.");
    }
    if (transposed) std::swap(dim_in, dim_out);
  }
};

// Rows with the weights of one species, `begin` to `end` in the order of species.
struct Block {
  int64_t species, begin, end;
};

struct Rows {
  std::vector<int64_t> order;   // empty: as they come
  std::vector<int64_t> bounds;  // of each species, in that order
  int64_t operator[](int64_t n) const { return order.empty() ? n : order[n]; }

  Rows(const char* op, int64_t rows, const std::optional<Tensor>& given, int64_t num_species) : bounds(num_species + 1) {
    if (!given.has_value()) {
      for (int64_t s = 0; s < num_species; ++s) bounds[s + 1] = num_species == 1 ? rows : s + 1;
      return;
    }
    const int64_t* species = given->const_data_ptr<int64_t>();
    order.resize(rows);
    for (int64_t z = 0; z < rows; ++z) {
      STD_TORCH_CHECK(species[z] >= 0 && species[z] < num_species, op, " needs species from 0 to ", num_species - 1,
                      "; got ", species[z], ".");
      ++bounds[species[z] + 1];
    }
    for (int64_t s = 0; s < num_species; ++s) bounds[s + 1] += bounds[s];
    std::vector<int64_t> next(bounds.begin(), bounds.end() - 1);
    for (int64_t z = 0; z < rows; ++z) order[next[species[z]]++] = z;
  }

  std::vector<Block> blocks(int64_t size) const {
    std::vector<Block> blocks;
    for (size_t s = 0; s + 1 < bounds.size(); ++s) {
      for (int64_t begin = bounds[s]; begin < bounds[s + 1]; begin += size) {
        blocks.push_back({static_cast<int64_t>(s), begin, std::min(begin + size, bounds[s + 1])});
      }
    }
    return blocks;
  }
};

}  // namespace linear
}  // namespace irrepnet
