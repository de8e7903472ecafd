#pragma once

// How the kernels of the convolution lay out their work: blocks of channels side by side, padded to whole vectors; the
// nonzero entries of couplings; and tasks that own channels, so that no two threads write to one place.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../shared/checks.h"

namespace irrepnet {

template <typename T>
constexpr int64_t kPad = 64 / sizeof(T);  // channels are padded to the widest vector of any processor

inline int64_t pad_to(int64_t size, int64_t unit) {
  return (size + unit - 1) / unit * unit;
}

// Numbers of one path, in the order of `paths`; a column of weights of -1 means a path without, -2 one to leave out. See _path_numbers in irrepnet/ops/product_plan.py.
constexpr int64_t kPathInts = 9;

// Channels of one irrep: [mul][dims] at `column` of a feature, [dims][stride] at `at` of a padded row.
struct ChannelBlock {
  int64_t column, mul, dims, at, stride;
};

// One nonzero entry of a coupling: for M the column of y that it multiplies, for gy the entry of M.
template <typename T>
struct Term {
  int64_t from;
  T value;
};

struct Path {
  int64_t block, out;  // indices of channel blocks
  int64_t y, y_dims;   // columns of the second factor
  int64_t weights;     // column, or -1 for a path without
  bool mixes;          // weights [mul, mul_out] mix the channels, instead of one for each
  int64_t size;        // entries of M, [out dims][in dims]
  int64_t M, gy;       // where in `begins` its entries of M, and its columns of y, say where their terms begin
};

// Channels [begin, end) of a block of the first factor.
struct Part {
  int64_t block, begin, end;
};

template <typename T>
struct ConvolutionPlan {
  std::vector<ChannelBlock> ins, outs;
  std::vector<Path> paths;     // sorted by block
  std::vector<int64_t> first;  // path of each block, and the end of the last
  std::vector<Term<T>> terms;
  std::vector<int64_t> begins;
  int64_t dim_x = 0, dim_out = 0, dim_y, columns_x, columns_out, weight_numel;
  int64_t largest_matrix = 0, most_dims = 1, widest = 0;

  ConvolutionPlan(const char* op, const std::vector<int64_t>& ints, const Tensor& tables, int64_t columns_x,
                  int64_t dim_y, int64_t weight_numel, int64_t columns_out)
      : dim_y(dim_y), columns_x(columns_x), columns_out(columns_out), weight_numel(weight_numel) {
    STD_TORCH_CHECK(ints.size() % kPathInts == 0, op, " needs ", kPathInts, " numbers for each path.");
    const T* table = tables.const_data_ptr<T>();
    int64_t left = tables.numel();
    for (size_t n = 0; n < ints.size(); n += kPathInts) {
      // Small enough for sums and products of two; then within the tensors.
      constexpr int64_t most = int64_t(1) << 31, most_dims_of_one = int64_t(1) << 10;
      const int64_t *p = ints.data() + n, mul = p[1], in = p[2], y = p[4], rows = p[6], mul_out = p[8];
      bool fits = *std::min_element(p, p + kPathInts) >= -2 && *std::max_element(p, p + kPathInts) < most;
      fits = fits && mul > 0 && mul_out >= 0 && std::min({in, y, rows}) > 0 && std::max({in, y, rows}) < most_dims_of_one;
      STD_TORCH_CHECK(fits, op, " needs paths within its tensors; path ", n / kPathInts, " is not.");
      const bool mixes = mul_out > 0;
      const int64_t channels_out = mixes ? mul_out : mul, weights = mixes ? mul * mul_out : mul, numel = y * rows * in;
      fits = numel <= left && p[7] >= (mixes ? 0 : -2) && p[0] >= 0 && p[0] + mul * in <= columns_x && p[3] >= 0;
      fits = fits && p[3] + y <= dim_y && p[5] >= 0 && p[5] + channels_out * rows <= columns_out;
      fits = fits && (p[7] < 0 || p[7] + weights <= weight_numel);
      STD_TORCH_CHECK(fits, op, " needs paths within its tensors; path ", n / kPathInts, " is not.");
      table += numel;
      left -= numel;
      if (p[7] == -2) continue;
      const int64_t block = find(ins, {p[0], mul, in, 0, 0}, dim_x), out = find(outs, {p[5], channels_out, rows, 0, 0}, dim_out);
      const int64_t size = rows * in;
      Path path{block, out, p[3], y, p[7], mixes, size, 0, 0};
      path.M = add_terms(table - numel, size, 1, y, size);
      path.gy = add_terms(table - numel, y, size, size, 1);
      paths.push_back(path);
      most_dims = std::max({most_dims, in, rows});
      largest_matrix = std::max(largest_matrix, size);
      widest = std::max({widest, ins[block].stride, outs[out].stride});
    }
    std::vector<Span> spans;
    for (const ChannelBlock& b : ins) spans.push_back({b.column, b.column + b.mul * b.dims});
    check_apart(op, spans);
    for (const ChannelBlock& b : outs) spans.push_back({b.column, b.column + b.mul * b.dims});
    check_apart(op, spans);
    for (const Path& p : paths) {
      const int64_t numel = ins[p.block].mul * (p.mixes ? outs[p.out].mul : 1);
      if (p.weights >= 0) spans.push_back({p.weights, p.weights + numel});
    }
    check_apart(op, spans);
    std::stable_sort(paths.begin(), paths.end(), [](const Path& a, const Path& b) { return a.block < b.block; });
    first.assign(ins.size() + 1, 0);
    for (const Path& path : paths) ++first[path.block + 1];
    for (size_t b = 0; b < ins.size(); ++b) first[b + 1] += first[b];
  }

  // Whether every weight belongs to a path, and every column of the output to a block.
  bool fills_weights() const {
    int64_t used = 0;
    for (const Path& path : paths) {
      if (path.weights >= 0) used += ins[path.block].mul * (path.mixes ? outs[path.out].mul : 1);
    }
    return used == weight_numel;
  }
  bool fills_out() const {
    int64_t used = 0;
    for (const ChannelBlock& b : outs) used += b.mul * b.dims;
    return used == columns_out;
  }

  // Up to eight groups of parts, about equal in work, that share neither inputs, outputs nor weights. They depend on the
  // plan alone, so that sums over them are the same for any number of threads.
  std::vector<std::vector<Part>> tasks() const {
    std::vector<int64_t> group(ins.size()), owner(outs.size(), -1);
    for (size_t b = 0; b < ins.size(); ++b) group[b] = static_cast<int64_t>(b);
    std::vector<bool> whole(ins.size());
    for (const Path& path : paths) {
      if (path.mixes) whole[path.block] = true;
      int64_t& mine = owner[path.out];
      if (mine < 0) mine = path.block;
      const int64_t from = group[path.block], to = group[mine];
      for (int64_t& g : group) g = g == from ? to : g;
    }
    struct Piece {
      int64_t work;
      std::vector<Part> parts;
    };
    std::vector<Piece> pieces;
    for (size_t g = 0; g < ins.size(); ++g) {
      bool splits = true;
      std::vector<int64_t> members;
      for (size_t b = 0; b < ins.size(); ++b) {
        if (group[b] != static_cast<int64_t>(g)) continue;
        members.push_back(static_cast<int64_t>(b));
        splits = splits && !whole[b] && ins[b].stride == ins[members[0]].stride;
      }
      if (members.empty()) continue;
      // Halves repeat the matrices M of their paths, so they have two vectors of channels at least.
      const int64_t stride = ins[members[0]].stride, half = pad_to((stride + 1) / 2, kPad<T>);
      const int64_t step = splits && stride >= 4 * kPad<T> ? half : stride;
      for (int64_t begin = 0; begin < (splits ? stride : 1); begin += step) {
        Piece piece{0, {}};
        for (const int64_t b : members) {
          const int64_t end = splits ? std::min(begin + step, stride) : ins[b].stride;
          piece.parts.push_back({b, begin, end});
          for (int64_t n = first[b]; n < first[b + 1]; ++n) piece.work += (paths[n].size + 2) * (end - begin);
        }
        pieces.push_back(piece);
      }
    }
    std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.work > b.work; });
    int64_t work = 0;
    for (const Piece& piece : pieces) work += piece.work;
    // An edge costs each task some time of its own, so small plans have fewer.
    const int64_t most = std::clamp<int64_t>(work / 4096, 2, 8);
    std::vector<Piece> bins(std::min<int64_t>(most, pieces.size()));
    for (const Piece& piece : pieces) {  // the largest first, each to where there is least
      Piece& bin = *std::min_element(bins.begin(), bins.end(), [](const Piece& a, const Piece& b) { return a.work < b.work; });
      bin.work += piece.work;
      bin.parts.insert(bin.parts.end(), piece.parts.begin(), piece.parts.end());
    }
    std::vector<std::vector<Part>> found;
    for (const Piece& bin : bins) found.push_back(bin.parts);
    return found;
  }

 private:
  struct Span {
    int64_t begin, end;
  };

  // Tasks write to blocks and weights without asking one another.
  static void check_apart(const char* op, std::vector<Span>& spans) {
    std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.begin < b.begin; });
    for (size_t n = 1; n < spans.size(); ++n) {
      STD_TORCH_CHECK(spans[n - 1].end <= spans[n].begin, op, " needs blocks, and weights of paths, that lie apart.");
    }
    spans.clear();
  }

  // Lists the nonzero entries table[a * step_a + b * step_b], for each a in turn; returns where their begins are.
  int64_t add_terms(const T* table, int64_t count_a, int64_t step_a, int64_t count_b, int64_t step_b) {
    const int64_t here = static_cast<int64_t>(begins.size());
    for (int64_t a = 0; a < count_a; ++a) {
      begins.push_back(static_cast<int64_t>(terms.size()));
      for (int64_t b = 0; b < count_b; ++b) {
        const T value = table[a * step_a + b * step_b];
        if (value != T(0)) terms.push_back({b, value});
      }
    }
    begins.push_back(static_cast<int64_t>(terms.size()));
    return here;
  }

  static int64_t find(std::vector<ChannelBlock>& blocks, ChannelBlock block, int64_t& end) {
    for (size_t b = 0; b < blocks.size(); ++b) {
      const ChannelBlock& other = blocks[b];
      if (other.column == block.column && other.mul == block.mul && other.dims == block.dims) return static_cast<int64_t>(b);
    }
    block.at = end;
    block.stride = pad_to(block.mul, kPad<T>);
    end += block.dims * block.stride;
    blocks.push_back(block);
    return static_cast<int64_t>(blocks.size()) - 1;
  }
};

}  // namespace irrepnet
