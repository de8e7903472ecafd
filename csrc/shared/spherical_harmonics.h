#pragma once

// Real solid harmonics R_lm: 'component' normalisation (sum_m R_lm^2 = (2l+1) r^2l), polar axis y, no Condon-Shortley
// phase. Component m >= 0 goes as cos(m phi), component -m as sin(m phi), phi from z to x around y.
// Tables are made in double, for any degree; a sweep takes one of these, or the like of it that a GPU can read. Sweeps
// work on V, which is T (one point per GPU thread) or a pack of T (many points side by side).

#include <cmath>
#include <cstdint>
#include <vector>

#include "macros.h"

namespace irrepnet {

IRREPNET_INLINE int64_t harmonics_dim(int64_t lmax) {
  return (lmax + 1) * (lmax + 1);
}

IRREPNET_INLINE int64_t harmonics_index(int64_t l, int64_t m) {
  return l * l + l + m;
}

// Upward recursion in l: stable, and free of divisions, so exact at the origin.
//   R_lm = up y R_{l-1,m} - down r^2 R_{l-2,m}                       for |m| < l
//   R_{l,+-l} = diagonal times the product of (z + i x) and R_{l-1,+-(l-1)}, seen as real and imaginary part
template <typename T>
struct HarmonicsTable {
  using Number = T;
  struct Step {
    T up, down;
  };
  std::vector<Step> steps;  // l = 1 ... lmax, m = 0 ... l-1
  std::vector<T> diagonal;  // l = 1 ... lmax

  explicit HarmonicsTable(int64_t lmax) {
    steps.reserve(lmax * (lmax + 1) / 2);
    diagonal.reserve(lmax);
    for (int64_t l = 1; l <= lmax; ++l) {
      for (int64_t m = 0; m < l; ++m) {
        const double norm = (2.0 * l + 1) / ((l - m) * (l + m));
        const double up = std::sqrt(norm * (2.0 * l - 1));
        const double down = m + 1 < l ? std::sqrt(norm * (l - m - 1) * (l + m - 1) / (2.0 * l - 3)) : 0.0;
        steps.push_back({static_cast<T>(up), static_cast<T>(down)});
      }
      diagonal.push_back(static_cast<T>(std::sqrt(l == 1 ? 3.0 : (2.0 * l + 1) / (2.0 * l))));
    }
  }
};

// xyz [3] -> out [(lmax+1)^2]. Degree is int64_t, or a type that converts to a constant and lets the loops unroll.
template <typename V, typename Table, typename Degree>
IRREPNET_INLINE void harmonics_sweep(const V* xyz, V* out, Degree lmax, const Table& table) {
  using T = typename Table::Number;
  const V x = xyz[0], y = xyz[1], z = xyz[2];
  const V r2 = x * x + y * y + z * z;
  const auto* step = table.steps.data();
  out[0] = V(T(1));
  for (int64_t l = 1; l <= lmax; ++l) {
    V* row = out + harmonics_index(l, 0);
    const V* last = out + harmonics_index(l - 1, 0);
    for (int64_t m = 0; m < l; ++m, ++step) {
      const V up = step->up * y;
      if (m + 1 == l) {
        row[m] = up * last[m];
        row[-m] = up * last[-m];
      } else {
        const V* before = out + harmonics_index(l - 2, 0);
        const V down = step->down * r2;
        row[m] = up * last[m] - down * before[m];
        row[-m] = up * last[-m] - down * before[-m];
      }
    }
    const V c = table.diagonal[l - 1] * last[l - 1];
    const V s = l == 1 ? V(T(0)) : table.diagonal[l - 1] * last[1 - l];  // there is no sin(0 phi)
    row[l] = z * c - x * s;
    row[-l] = z * s + x * c;
  }
}

// A number and its derivative along one direction: a sweep over these is the derivative of the sweep.
template <typename V>
struct Dual {
  V value, slope;

  Dual() = default;
  template <typename T>
  IRREPNET_INLINE explicit Dual(T constant) : value(constant), slope(T(0)) {}
  IRREPNET_INLINE Dual(const V& v, const V& s) : value(v), slope(s) {}
  friend IRREPNET_INLINE Dual operator+(const Dual& a, const Dual& b) {
    return {a.value + b.value, a.slope + b.slope};
  }
  friend IRREPNET_INLINE Dual operator-(const Dual& a, const Dual& b) {
    return {a.value - b.value, a.slope - b.slope};
  }
  friend IRREPNET_INLINE Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, a.value * b.slope + a.slope * b.value};
  }
  template <typename A>
  friend IRREPNET_INLINE Dual operator*(const A& constant, const Dual& b) {
    return {constant * b.value, constant * b.slope};
  }
};

// The gradient of a solid harmonic is a constant combination of those one degree lower, d_i R = G_i R. All derivatives
// follow from the trilinear form T(v, g, r) = sum_i v_i g.(G_i r).
// Calls visit(axis, a, b, value) for every term value * v[axis] * g[a] * r[b] of it, at most five for each a.
template <typename Visit>
void for_each_coupling(int64_t lmax, const Visit& visit) {
  constexpr int64_t X = 0, Y = 1, Z = 2;
  for (int64_t l = 1; l <= lmax; ++l) {
    const double scale = (2.0 * l + 1) / (2.0 * l - 1);
    for (int64_t m = 0; m <= l; ++m) {
      const int64_t cos_m = harmonics_index(l, m), sin_m = harmonics_index(l, -m);
      // d_z and d_x lead from m to n = m -+ 1; sin(0 phi) does not exist.
      const auto sideways = [&](int64_t n, double z, double x) {
        const int64_t cos_n = harmonics_index(l - 1, n), sin_n = harmonics_index(l - 1, -n);
        visit(Z, cos_m, cos_n, z);
        if (n > 0) visit(X, cos_m, sin_n, -x);
        if (m > 0) visit(X, sin_m, cos_n, x);
        if (m > 0 && n > 0) visit(Z, sin_m, sin_n, z);
      };
      if (m < l) {
        const double value = std::sqrt(scale * (l - m) * (l + m));
        visit(Y, cos_m, harmonics_index(l - 1, m), value);
        if (m > 0) visit(Y, sin_m, harmonics_index(l - 1, -m), value);
      }
      if (m > 0) {
        const double value = std::sqrt(scale * (l + m) * (l + m - 1) * (m == 1 ? 2 : 1)) / 2;
        sideways(m - 1, value, value);
      }
      if (m + 1 < l) {
        const double value = std::sqrt(scale * (l - m) * (l - m - 1) * (m == 0 ? 2 : 1)) / 2;
        sideways(m + 1, -value, value);
      }
    }
  }
}

// The gradient of g . R(xyz) from R: five terms for each component, see for_each_coupling.
template <typename T>
struct GradientTable {
  using Number = T;
  struct Step {
    T same, below, above;  // to m, m - 1 and m + 1 of the degree below
  };
  std::vector<Step> steps;  // l = 1 ... lmax, m = 0 ... l

  explicit GradientTable(int64_t lmax) {
    steps.reserve(lmax * (lmax + 3) / 2);
    for (int64_t l = 1; l <= lmax; ++l) {
      const double scale = (2.0 * l + 1) / (2.0 * l - 1);
      for (int64_t m = 0; m <= l; ++m) {
        const double same = scale * (l - m) * (l + m);
        const double below = scale * (l + m) * (l + m - 1) * (m == 1 ? 2 : 1) / 4;
        const double above = scale * (l - m) * (l - m - 1) * (m == 0 ? 2 : 1) / 4;
        const auto root = [](double square) { return static_cast<T>(std::sqrt(square)); };
        steps.push_back({root(same), root(below), root(above)});
      }
    }
  }
};

// g, r [(lmax+1)^2] -> out [3], with r = R(xyz). R may be dual where G is not.
template <typename G, typename R, typename Table, typename Degree>
IRREPNET_INLINE void gradient_sweep(const G* g, const R* r, R* out, Degree lmax, const Table& table) {
  using T = typename Table::Number;
  R x(T(0)), y(T(0)), z(T(0));
  const auto* step = table.steps.data();
  for (int64_t l = 1; l <= lmax; ++l) {
    const G* a = g + harmonics_index(l, 0);
    const R* b = r + harmonics_index(l - 1, 0);
    y = y + step->same * (a[0] * b[0]);
    if (l > 1) {
      const G up = step->above * a[0];
      z = z - up * b[1];
      x = x - up * b[-1];
    }
    ++step;
    for (int64_t m = 1; m <= l; ++m, ++step) {
      const G down_c = step->below * a[m], down_s = step->below * a[-m];
      z = z + down_c * b[m - 1];
      x = x + down_s * b[m - 1];
      if (m > 1) {  // there is no sin(0 phi)
        z = z + down_s * b[1 - m];
        x = x - down_c * b[1 - m];
      }
      if (m < l) y = y + step->same * (a[m] * b[m] + a[-m] * b[-m]);
      if (m + 1 < l) {
        const G up_c = step->above * a[m], up_s = step->above * a[-m];
        z = z - up_c * b[m + 1] - up_s * b[-m - 1];
        x = x + up_s * b[m + 1] - up_c * b[-m - 1];
      }
    }
  }
  out[0] = x, out[1] = y, out[2] = z;
}

// Which argument of T(v, g, r) is the output and which are the inputs: 0 for v, 1 for g, 2 for r.
struct Slots {
  int out, left, right;
};

// One gradient of T as a table: out[k] = sum of value * left[i] * right[j], terms sorted by k.
template <typename T>
struct BilinearTable {
  struct Term {
    int32_t left, right;
    T value;
  };
  std::vector<Term> terms;
  std::vector<int64_t> begins;  // the first term of each output, and the end of the last

  BilinearTable(int64_t lmax, const Slots& slots) : begins((slots.out == 0 ? 3 : harmonics_dim(lmax)) + 1) {
    const auto pick = [](int slot, int64_t axis, int64_t a, int64_t b) { return slot == 0 ? axis : slot == 1 ? a : b; };
    for_each_coupling(lmax, [&](int64_t axis, int64_t a, int64_t b, double) {
      ++begins[pick(slots.out, axis, a, b) + 1];
    });
    for (size_t k = 1; k < begins.size(); ++k) begins[k] += begins[k - 1];
    terms.resize(begins.back());
    std::vector<int64_t> next(begins.begin(), begins.end() - 1);
    for_each_coupling(lmax, [&](int64_t axis, int64_t a, int64_t b, double value) {
      const auto left = static_cast<int32_t>(pick(slots.left, axis, a, b));
      const auto right = static_cast<int32_t>(pick(slots.right, axis, a, b));
      terms[next[pick(slots.out, axis, a, b)]++] = {left, right, static_cast<T>(value)};
    });
  }
};

template <typename V, typename T>
IRREPNET_INLINE void bilinear_sweep(const V* left, const V* right, V* out, const BilinearTable<T>& table) {
  const auto* term = table.terms.data();
  const int64_t rows = static_cast<int64_t>(table.begins.size()) - 1;
  for (int64_t row = 0; row < rows; ++row) {
    const auto* end = table.terms.data() + table.begins[row + 1];
    V sum(T(0));
    for (; term < end; ++term) sum = sum + term->value * left[term->left] * right[term->right];
    out[row] = sum;
  }
}

}  // namespace irrepnet
