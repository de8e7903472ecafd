#pragma once

// What a product of pairs of channels does, worked out at each call from the numbers of irrepnet/ops/pair_product.py.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../shared/checks.h"

namespace irrepnet {
namespace pairs {

// The arguments of T(x, y, w, g); an op makes the gradient of T with respect to one of them from the others.
enum Slot : int64_t { kX, kY, kW, kG };

constexpr int64_t kHeader = 4, kPathInts = 12;

// How channels u of x and v of y meet: the same ones, each with each, or those with u < v.
enum Meeting : int64_t { kSame, kAll, kAscending };

// target += value * a * b, for components a and b of the other two features
template <typename T>
struct Term {
  int64_t a, b;
  T value;
};

struct Path {
  int64_t x, mul_x, dims_x, y, mul_y, dims_y, g, dims_g;  // first column, channels and components
  int64_t mul_g;   // channels that weights [pairs, mul_g] mix the pairs to; 0: the pairs are the channels
  int64_t w;       // first weight; -1: none
  Meeting meeting;
  int64_t begins;  // where in Plan::begins the terms of its targets begin
  int64_t sums;    // where pairs whose weights are the same for all rows gather their gradients

  // Pairs of channel u of x, and of the channels from `first` up to, but not, `last`.
  int64_t pairs(int64_t u) const { return meeting == kSame ? 1 : meeting == kAll ? mul_y : mul_x - 1 - u; }
  int64_t pairs(int64_t first, int64_t last) const {
    int64_t count = 0;
    for (int64_t u = first; u < last; ++u) count += pairs(u);
    return count;
  }
  int64_t pairs() const { return pairs(0, mul_x); }
  int64_t weights() const { return w < 0 ? 0 : pairs() * std::max<int64_t>(mul_g, 1); }
  int64_t columns() const { return (mul_g ? mul_g : pairs()) * dims_g; }
};

// `ints`: columns of x and y, weights, columns of g; then for each path first column, channels and components of x, the
// same of y, first column, mixed channels (or 0) and components of g, first weight or -1, first of its constants
// C[j, k, i], meeting.
template <typename T>
struct Plan {
  Slot slot;
  int64_t columns[4];
  std::vector<Path> paths;  // by column of g
  std::vector<Term<T>> terms;
  std::vector<int64_t> begins;
  // Of one path: columns of g, pairs with a weight each, channels that pairs are mixed to, components of g.
  int64_t widest = 1, most_weights = 1, most_mixed = 1, most_dims = 1;
  int64_t sums = 0, used_g = 0, used_w = 0, work = 1;
  bool mixes = false;

  Plan(const char* op, const std::vector<int64_t>& ints, const Tensor& tables, int64_t slot_) : slot(Slot(slot_)) {
    const int64_t count = static_cast<int64_t>(ints.size());
    constexpr int64_t most = int64_t(1) << 30;
    bool fits = slot_ >= kX && slot_ <= kG && count >= kHeader && (count - kHeader) % kPathInts == 0;
    for (const int64_t n : ints) fits = fits && n >= -1 && n < most;
    STD_TORCH_CHECK(fits, op, " needs a slot from 0 to 3 and a plan of 4 + 12 numbers for each path.");
    std::copy_n(ints.begin(), 4, columns);
    for (int64_t n = kHeader; n < count; n += kPathInts) add(op, ints.data() + n, n / kPathInts, tables);
    used_w = apart(op, false, [](const Path& p) { return p.w; }, [](const Path& p) { return p.weights(); });
    used_g = apart(op, true, [](const Path& p) { return p.g; }, [](const Path& p) { return p.columns(); });
    for (const Path& p : paths) {
      const bool alike = (p.w >= 0) == (paths[0].w >= 0) && (p.w >= 0 || (p.mul_g == 0 && slot != kW));
      STD_TORCH_CHECK(alike, op, " needs weights on every path, or on none.");
    }
  }

 private:
  void add(const char* op, const int64_t* p, int64_t number, const Tensor& tables) {
    constexpr int64_t most = int64_t(1) << 30, most_dims_of_one = int64_t(1) << 10;
    Path path{p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[8], p[7], p[9], Meeting(p[11]), 0, sums};
    bool fits = std::min({p[0], p[1], p[3], p[4], p[6], p[7], p[10]}) >= 0 && std::min({p[2], p[5], p[8]}) > 0;
    fits = fits && std::max({p[2], p[5], p[8]}) < most_dims_of_one && p[11] >= kSame && p[11] <= kAscending;
    fits = fits && (path.meeting == kAll || p[1] == p[4]) && p[0] + p[1] * p[2] <= columns[kX];
    fits = fits && p[3] + p[4] * p[5] <= columns[kY] && p[10] + p[2] * p[5] * p[8] <= tables.numel();
    fits = fits && p[1] * p[4] < most;
    fits = fits && path.g + path.columns() <= columns[kG] && (path.w < 0 || path.w + path.weights() <= columns[kW]);
    STD_TORCH_CHECK(fits, op, " needs paths within its tensors; path ", number, " is not.");
    const int64_t pairs = path.pairs();
    if (pairs == 0) return;  // it reaches no column, and might seem to share those of another
    add_terms(path, tables.const_data_ptr<T>() + p[10]);
    if (path.mul_g) {
      mixes = true;
      most_mixed = std::max(most_mixed, path.mul_g);
    } else {
      most_weights = std::max(most_weights, pairs);
      sums += path.w < 0 ? 0 : pairs;
    }
    widest = std::max(widest, path.columns());
    most_dims = std::max(most_dims, path.dims_g);
    work += pairs * (begins.back() - begins[path.begins] + path.mul_g * path.dims_g + 1);
    paths.push_back(path);
  }

  // Lists the nonzero constants, target by target: components of the slot's feature, or of g for the weights.
  void add_terms(Path& path, const T* C) {
    const int64_t I = path.dims_x, J = path.dims_y, K = path.dims_g;
    // Pairs whose weights mix them are made, or have their gradients taken, before weights come in.
    const int64_t targets = slot == kX ? I : slot == kY ? J : K;
    path.begins = static_cast<int64_t>(begins.size());
    for (int64_t target = 0; target < targets; ++target) {
      begins.push_back(static_cast<int64_t>(terms.size()));
      const auto add = [&](int64_t i, int64_t j, int64_t k, int64_t a, int64_t b) {
        const T value = C[(j * K + k) * I + i];
        if (value != T(0)) terms.push_back({a, b, value});
      };
      if (slot == kX) {
        for (int64_t j = 0; j < J; ++j) for (int64_t k = 0; k < K; ++k) add(target, j, k, j, k);
      } else if (slot == kY) {
        for (int64_t i = 0; i < I; ++i) for (int64_t k = 0; k < K; ++k) add(i, target, k, i, k);
      } else {
        for (int64_t i = 0; i < I; ++i) for (int64_t j = 0; j < J; ++j) add(i, j, target, i, j);
      }
    }
    begins.push_back(static_cast<int64_t>(terms.size()));
  }

  // Sorts the paths by where they begin, and returns how many columns they hold.
  template <typename Begin, typename Size>
  int64_t apart(const char* op, bool may_share, const Begin& begin, const Size& size) {
    std::stable_sort(paths.begin(), paths.end(), [&](const Path& a, const Path& b) { return begin(a) < begin(b); });
    int64_t used = 0, end = 0;
    for (size_t n = 0; n < paths.size(); ++n) {
      const Path& p = paths[n];
      const bool same = may_share && n > 0 && begin(p) == begin(paths[n - 1]) && size(p) == size(paths[n - 1]) &&
                        p.dims_g == paths[n - 1].dims_g;
      if (same || size(p) == 0) continue;
      STD_TORCH_CHECK(begin(p) >= end, op, " needs paths whose outputs are the same or lie apart, and weights apart.");
      used += size(p);
      end = begin(p) + size(p);
    }
    return used;
  }
};

}  // namespace pairs
}  // namespace irrepnet
