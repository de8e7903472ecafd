#pragma once

// The kernel of products of pairs. A vector holds the same number of many rows, so any number of channels and
// components fills it. x and y of some rows are turned once, outputs and weights path by path; pairs that weights mix
// are made some at a time. So everything in between stays in the caches.

#include <algorithm>
#include <vector>

#include "lanes.h"
#include "pack.h"
#include "pair_plan.h"
#include "rows.h"
#include "scratch.h"
#include "tile.h"

namespace irrepnet {
namespace pairs {

// Rows [begin, end) with one set of weights. Pieces do not depend on the number of threads.
struct Piece {
  int64_t set, begin, end;
};

// to[m][k] (+)= sum over n of W[n * from_step + m * to_step] from[n][k] for m < M; n and m lie K vectors apart.
template <int M, typename V, typename T>
IRREPNET_INLINE void mix_some(const T* from, int64_t count, int64_t K, const T* W, int64_t from_step, int64_t to_step,
                              bool add, T* to) {
  V sum[M];
  IRREPNET_UNROLL
  for (int m = 0; m < M; ++m) sum[m] = add ? load<V>(to + m * K * V::size) : V(T(0));
  for (int64_t n = 0; n < count; ++n, W += from_step, from += K * V::size) {
    const V v = load<V>(from);
    IRREPNET_UNROLL
    for (int m = 0; m < M; ++m) sum[m] = sum[m] + W[m * to_step] * v;
  }
  IRREPNET_UNROLL
  for (int m = 0; m < M; ++m) store(to + m * K * V::size, sum[m]);
}

template <typename V, typename T>
IRREPNET_INLINE void mix_rows(const T* from, int64_t count, int64_t K, const T* W, int64_t from_step, int64_t to_step,
                              bool add, int64_t mixed, T* to) {
  constexpr int most = sizeof(V) / V::registers == 64 ? 8 : 4;  // what the registers hold
  for (int64_t k = 0; k < K; ++k, from += V::size, to += V::size) {
    int64_t m = 0;
    const auto some = [&](auto size) IRREPNET_LAMBDA {
      constexpr int M = decltype(size)::value;
      for (; m + M <= mixed; m += M) {
        mix_some<M, V>(from, count, K, W + m * to_step, from_step, to_step, add, to + m * K * V::size);
      }
    };
    some(std::integral_constant<int, most>());
    some(std::integral_constant<int, 2>());
    some(std::integral_constant<int, 1>());
  }
}

template <typename T>
struct Kernel {
  const Plan<T>& plan;
  const std::vector<Piece>& pieces;
  const T* given[4];  // [rows, columns] of each argument, [sets, weights]; null for the slot's own and for no weights
  T* out;             // the slot's; sums over rows lie apart, [pieces, weights]
  bool own_weights;   // each row has a set

  static constexpr int64_t kPairs = 65536 / sizeof(T);  // numbers of pairs at a time: a part of the second cache

  // What a thread works with: vectors of rows.
  struct Room {
    Scratch<T> x, y, g, w, pairs, turned, sums;
    Scratch<int64_t> step, at;
    int64_t most_pairs;

    Room(const Plan<T>& plan, int64_t size, bool sums_weights)
        : x(plan.columns[kX] * size), y(plan.columns[kY] * size), g(plan.widest * size),
          w(std::max({sums_weights ? plan.sums : 0, plan.most_weights, plan.most_mixed}) * size),
          pairs(plan.mixes ? room_for_pairs(plan, size) * plan.most_dims * size : 0),
          turned(plan.mixes ? plan.most_dims * size * 2 * kPad : 0),
          sums(plan.mixes ? (room_for_pairs(plan, size) + 12) * 2 * kPad : 0),
          step(plan.most_dims * size + 12), at(plan.mixes ? room_for_pairs(plan, size) + 12 : 0),
          most_pairs(room_for_pairs(plan, size)) {}

    static constexpr int64_t kPad = 64 / sizeof(T);

    // One channel of x meets up to that many of y, which may not be parted.
    static int64_t room_for_pairs(const Plan<T>& plan, int64_t size) {
      int64_t most = std::max<int64_t>(1, kPairs / (size * plan.most_dims));
      for (const Path& path : plan.paths) most = std::max(most, path.meeting == kSame ? 1 : path.mul_y);
      return most;
    }
  };

  template <int bytes>
  IRREPNET_INLINE void run(int64_t begin, int64_t end) const {
    using V = Pack<T, bytes>;
    const bool sums = plan.slot == kW && !own_weights;
    const Room room(plan, V::size, sums);
    for (int64_t c = begin; c < end; ++c) {
      const Piece& piece = pieces[c];
      T* part = sums ? out + c * plan.columns[kW] : nullptr;
      if (sums) {
        std::fill_n(+room.w, room.w.size(), T(0));
        std::fill_n(part, plan.columns[kW], T(0));
      }
      const T* shared = !own_weights && given[kW] ? given[kW] + piece.set * plan.columns[kW] : nullptr;
      for (int64_t row = piece.begin; row < piece.end; row += V::size) {
        rows<V>(row, std::min<int64_t>(V::size, piece.end - row), shared, part, room);
      }
      if (sums) sum_rows<V>(room, part);
    }
  }

  template <typename V>
  IRREPNET_INLINE void sum_rows(const Room& room, T* part) const {
    for (const Path& path : plan.paths) {
      for (int64_t n = 0; path.mul_g == 0 && n < path.pairs(); ++n) {
        T sum = 0;
        for (int64_t lane = 0; lane < V::size; ++lane) sum += room.w[(path.sums + n) * V::size + lane];
        part[path.w + n] = sum;
      }
    }
  }

  template <typename V>
  IRREPNET_INLINE void take(Slot slot, int64_t row, int64_t count, int64_t first, int64_t width, T* to) const {
    if (slot == plan.slot) return void(std::fill_n(to, width * V::size, T(0)));
    const int64_t columns = plan.columns[slot];
    load_lines(given[slot] + row * columns + first, columns, count, width, reinterpret_cast<V*>(to));
  }

  template <typename V>
  IRREPNET_INLINE void give(Slot slot, int64_t row, int64_t count, int64_t first, int64_t width, const T* from) const {
    if (slot != plan.slot) return;
    const int64_t columns = plan.columns[slot];
    store_lines(reinterpret_cast<const V*>(from), count, width, out + row * columns + first, columns);
  }

  template <typename V>
  IRREPNET_INLINE void rows(int64_t row, int64_t count, const T* shared, T* part, const Room& room) const {
    take<V>(kX, row, count, 0, plan.columns[kX], room.x);
    take<V>(kY, row, count, 0, plan.columns[kY], room.y);
    const size_t paths = plan.paths.size();
    for (size_t n = 0; n < paths; ++n) {
      const Path& path = plan.paths[n];
      if (n == 0 || plan.paths[n - 1].g != path.g) take<V>(kG, row, count, path.g, path.columns(), room.g);
      if (path.mul_g) {
        mixed<V>(path, row, count, shared, part, room);
      } else {
        T* w = part ? room.w + path.sums * V::size : +room.w;
        if (own_weights) take<V>(kW, row, count, path.w, path.pairs(), w);
        meet<V>(path, 0, path.mul_x, plan.slot, room, w, shared ? shared + path.w : nullptr, given[kW] != nullptr, room.g);
        if (own_weights) give<V>(kW, row, count, path.w, path.pairs(), w);
      }
      if (n + 1 == paths || plan.paths[n + 1].g != path.g) give<V>(kG, row, count, path.g, path.columns(), room.g);
    }
    give<V>(kX, row, count, 0, plan.columns[kX], room.x);
    give<V>(kY, row, count, 0, plan.columns[kY], room.y);
  }

  // A path whose weights mix the pairs: those of some channels u at a time.
  template <typename V>
  IRREPNET_INLINE void mixed(const Path& path, int64_t row, int64_t count, const T* shared, T* part, const Room& room) const {
    const bool backward = plan.slot == kX || plan.slot == kY;
    int64_t weights = path.w;
    for (int64_t u = 0, last = 0; u < path.mul_x; u = last) {
      int64_t pairs = path.pairs(last++);
      for (; last < path.mul_x && pairs + path.pairs(last) <= room.most_pairs; ++last) pairs += path.pairs(last);
      T* P = room.pairs;
      if (!backward) {
        std::fill_n(P, pairs * path.dims_g * V::size, T(0));
        meet<V>(path, u, last, kG, room, nullptr, nullptr, false, P);
      }
      if (own_weights) {
        mix_own<V>(path, row, count, weights, pairs, room);
      } else if (plan.slot == kW) {
        sum_weights<V>(path, row, count, weights, pairs, part, room);
      } else if (backward) {
        mix_rows<V>(+room.g, path.mul_g, path.dims_g, shared + weights, 1, path.mul_g, false, pairs, P);
      } else {
        mix_rows<V>(P, pairs, path.dims_g, shared + weights, path.mul_g, 1, true, path.mul_g, +room.g);
      }
      if (backward) meet<V>(path, u, last, plan.slot, room, nullptr, nullptr, false, P);
      weights += pairs * path.mul_g;
    }
  }

  // Each row has weights of its own: they are turned for one pair after another, and used once.
  template <typename V>
  IRREPNET_INLINE void mix_own(const Path& path, int64_t row, int64_t count, int64_t weights, int64_t pairs,
                               const Room& room) const {
    for (int64_t n = 0; n < pairs; ++n, weights += path.mul_g) {
      take<V>(kW, row, count, weights, path.mul_g, room.w);
      for (int64_t k = 0; k < path.dims_g; ++k) {
        T *pair = room.pairs + (n * path.dims_g + k) * V::size, *g = room.g + k * V::size, *w = room.w;
        V sum(T(0)), p = load<V>(pair);
        for (int64_t m = 0; m < path.mul_g; ++m, w += V::size, g += path.dims_g * V::size) {
          if (plan.slot == kW) {
            store(w, load<V>(w) + p * load<V>(g));
          } else if (plan.slot == kG) {
            store(g, load<V>(g) + load<V>(w) * p);
          } else {
            sum = sum + load<V>(w) * load<V>(g);
          }
        }
        if (plan.slot == kX || plan.slot == kY) store(pair, sum);
      }
      give<V>(kW, row, count, weights, path.mul_g, room.w);
    }
  }

  // part[n, m] += sum over rows and k of pairs[n][k] g[m][k]: vectors hold channels m here.
  template <typename V>
  IRREPNET_INLINE void sum_weights(const Path& path, int64_t row, int64_t count, int64_t weights, int64_t pairs, T* part,
                                   const Room& room) const {
    constexpr int bytes = sizeof(V) / V::registers;
    using Tile = Tile<T, bytes>;
    const int64_t K = path.dims_g;
    for (int64_t n = 0; n < pairs + 12; ++n) room.at[n] = std::min(n, pairs - 1) * K * V::size;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t k = 0; k < K; ++k) room.step[r * K + k] = k * V::size + r;
    }
    for (int64_t m = 0; m < path.mul_g; m += Tile::wide) {
      const int64_t channels = std::min<int64_t>(Tile::wide, path.mul_g - m);
      const int64_t width = std::min<int64_t>(rounded(channels, Tile::lanes), Tile::wide);
      for (int64_t r = 0; r < count; ++r) {
        const T* g = given[kG] + (row + r) * plan.columns[kG] + path.g + m * K;
        separate(g, width, channels, K, room.turned + r * K * width);
      }
      if (width == Tile::wide) {
        multiply_all<T, bytes, 2>(+room.pairs, +room.step, count * K, +room.at, pairs, +room.turned, +room.sums);
      } else {
        multiply_all<T, bytes, 1>(+room.pairs, +room.step, count * K, +room.at, pairs, +room.turned, +room.sums);
      }
      const T* from = room.sums;
      for (int64_t n = 0; n < pairs; ++n, from += width) {
        T* to = part + weights + n * path.mul_g + m;
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
      }
    }
  }

  // Pairs of channels [u, last) of x, for a slot; `g` begins with their first. Their weights are vectors `w`, or
  // `shared` by all rows, or none.
  template <typename V>
  IRREPNET_INLINE void meet(const Path& path, int64_t u, int64_t last, Slot slot, const Room& room, T* w, const T* shared,
                            bool weighted, T* g) const {
    switch (slot) {
      case kX: return meet<kX, V>(path, u, last, room, w, shared, weighted, g);
      case kY: return meet<kY, V>(path, u, last, room, w, shared, weighted, g);
      case kW: return meet<kW, V>(path, u, last, room, w, shared, weighted, g);
      case kG: return meet<kG, V>(path, u, last, room, w, shared, weighted, g);
    }
  }

  template <Slot slot, typename V>
  IRREPNET_INLINE void meet(const Path& path, int64_t u, int64_t last_u, const Room& room, T* w, const T* shared,
                            bool weighted, T* g) const {
    const int64_t *begins = plan.begins.data() + path.begins, step_y = path.dims_y * V::size;
    const int64_t targets = slot == kX ? path.dims_x : slot == kY ? path.dims_y : path.dims_g;
    T *x = room.x + (path.x + u * path.dims_x) * V::size, *y = room.y + path.y * V::size;
    for (; u < last_u; ++u, x += path.dims_x * V::size) {
      const int64_t first = path.meeting == kAll ? 0 : path.meeting == kSame ? u : u + 1;
      const int64_t last = path.meeting == kSame ? u + 1 : path.mul_y;
      for (int64_t v = first; v < last; ++v, g += path.dims_g * V::size) {
        T* at_y = y + v * step_y;
        if constexpr (slot == kW) {
          store(w, load<V>(w) + total<V>(begins, targets, x, at_y, g));
          w += V::size;
        } else {
          const T *a = slot == kX ? at_y : x, *b = slot == kG ? at_y : g;
          T* to = slot == kX ? x : slot == kY ? at_y : g;
          V weight(T(1));
          if (shared) weight = V(*shared++);
          if (weighted && !shared) weight = load<V>(w), w += V::size;
          for (int64_t t = 0; t < targets; ++t) {
            store(to + t * V::size, load<V>(to + t * V::size) + weight * sum<V>(begins + t, a, b));
          }
        }
      }
    }
  }

  template <typename V>
  IRREPNET_INLINE V sum(const int64_t* begin, const T* a, const T* b) const {
    V sum(T(0));
    for (int64_t t = begin[0]; t < begin[1]; ++t) {
      const auto& term = plan.terms[t];
      sum = sum + term.value * (load<V>(a + term.a * V::size) * load<V>(b + term.b * V::size));
    }
    return sum;
  }

  template <typename V>
  IRREPNET_INLINE V total(const int64_t* begins, int64_t targets, const T* x, const T* y, const T* g) const {
    V all(T(0));
    for (int64_t t = 0; t < targets; ++t) all = all + load<V>(g + t * V::size) * sum<V>(begins + t, x, y);
    return all;
  }
};

}  // namespace pairs
}  // namespace irrepnet
