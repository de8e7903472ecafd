#pragma once

// Real solid harmonics R_lm, 'component' normalisation (sum_m R_lm^2 = (2l+1) r^2l), polar axis y, no Condon-Shortley
// phase. Component m >= 0 goes as cos(m phi), component -m as sin(m phi), phi from z to x around y.
// Tables are made in double for any degree; the sweeps work on W points at once, component by component
// (arrays [component][W]), with W = 1 for one point per thread.

#include <array>
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

// Upward recursion in l, stable and free of divisions:
//   R_lm = up y R_{l-1,m} - down r^2 R_{l-2,m}   for |m| < l,   R_{l,+-l} = diagonal (z, x) * R_{l-1,+-(l-1)}.
template <typename T>
struct HarmonicsTable {
  struct Step {
    T up, down;
  };
  std::vector<Step> steps;   // for l = 1 ... lmax, m = 0 ... l-1
  std::vector<T> diagonal;   // for l = 1 ... lmax

  explicit HarmonicsTable(int64_t lmax) {
    for (int64_t l = 1; l <= lmax; ++l) {
      const double d = static_cast<double>(l);
      for (int64_t k = 0; k < l; ++k) {
        const double m = static_cast<double>(k);
        const double norm = (2 * d + 1) / ((d - m) * (d + m));
        const double down = k + 2 > l ? 0.0 : std::sqrt(norm * (d - m - 1) * (d + m - 1) / (2 * d - 3));
        steps.push_back({static_cast<T>(std::sqrt(norm * (2 * d - 1))), static_cast<T>(down)});
      }
      diagonal.push_back(static_cast<T>(std::sqrt(l == 1 ? 3.0 : (2 * d + 1) / (2 * d))));
    }
  }
};

// xyz [3][W] -> out [(lmax+1)^2][W]
template <int W, typename T>
IRREPNET_INLINE void harmonics_sweep(const T* xyz, T* out, int64_t lmax, const HarmonicsTable<T>& table) {
  const T *x = xyz, *y = xyz + W, *z = xyz + 2 * W;
  T r2[W];
#pragma omp simd
  for (int k = 0; k < W; ++k) {
    r2[k] = x[k] * x[k] + y[k] * y[k] + z[k] * z[k];
    out[k] = T(1);
  }
  const auto* step = table.steps.data();
  for (int64_t l = 1; l <= lmax; ++l) {
    T* row = out + harmonics_index(l, 0) * W;
    const T* last = out + harmonics_index(l - 1, 0) * W;
    const T* before = l > 1 ? out + harmonics_index(l - 2, 0) * W : last;
    for (int64_t m = 0; m < l; ++m, ++step) {
      const T up = step->up, down = step->down;
      for (int64_t s = m; s >= -m; s -= m > 0 ? 2 * m : 1) {
        T* to = row + s * W;
        const T* p = last + s * W;
        if (m + 2 > l) {
#pragma omp simd
          for (int k = 0; k < W; ++k) to[k] = up * y[k] * p[k];
        } else {
          const T* q = before + s * W;
#pragma omp simd
          for (int k = 0; k < W; ++k) to[k] = up * y[k] * p[k] - down * r2[k] * q[k];
        }
      }
    }
    const T diagonal = table.diagonal[l - 1];
    const T* c = last + (l - 1) * W;
    const T* s = last - (l - 1) * W;
    const T one = l > 1 ? T(1) : T(0);  // there is no sin(0 phi)
#pragma omp simd
    for (int k = 0; k < W; ++k) {
      const T cos = c[k], sin = one * s[k];
      row[l * W + k] = diagonal * (z[k] * cos - x[k] * sin);
      row[-l * W + k] = diagonal * (z[k] * sin + x[k] * cos);
    }
  }
}

// The gradients d_i R = G_i R, G_i constant and sparse, as the trilinear form T(v, g, r) = sum_i v_i g.(G_i r).
// Calls visit(axis, a, b, value) for every term value * v[axis] * g[a] * r[b].
template <typename Visit>
void for_each_coupling(int64_t lmax, const Visit& visit) {
  constexpr int64_t X = 0, Y = 1, Z = 2;
  for (int64_t l = 1; l <= lmax; ++l) {
    const double scale = (2.0 * l + 1) / (2.0 * l - 1);
    for (int64_t m = 0; m <= l; ++m) {
      const int64_t cos = harmonics_index(l, m), sin = harmonics_index(l, -m);
      const auto couple = [&](int64_t n, double to_z, double to_x) {  // |m| -> n = |m| -+ 1
        const int64_t cos_n = harmonics_index(l - 1, n), sin_n = harmonics_index(l - 1, -n);
        visit(Z, cos, cos_n, to_z);
        if (n > 0) visit(X, cos, sin_n, -to_x);
        if (m > 0) {
          if (n > 0) visit(Z, sin, sin_n, to_z);
          visit(X, sin, cos_n, to_x);
        }
      };
      if (m < l) {
        const double value = std::sqrt(scale * (l - m) * (l + m));
        visit(Y, cos, harmonics_index(l - 1, m), value);
        if (m > 0) visit(Y, sin, harmonics_index(l - 1, -m), value);
      }
      if (m > 0) {
        const double value = std::sqrt(scale * (l + m) * (l + m - 1) * (m == 1 ? 2 : 1)) / 2;
        couple(m - 1, value, value);
      }
      if (m + 1 < l) {
        const double value = std::sqrt(scale * (l - m) * (l - m - 1) * (m == 0 ? 2 : 1)) / 2;
        couple(m + 1, -value, value);
      }
    }
  }
}

// One gradient of T as a table: out[k] = sum of value * left[i] * right[j], terms sorted by k.
template <typename T>
struct BilinearTable {
  struct Term {
    int32_t left, right;
    T value;
  };
  std::vector<Term> terms;
  std::vector<int64_t> begins;  // first term of each output, and the end of the last

  // slots: which of (v, g, r) is out, left, right.
  BilinearTable(int64_t lmax, const std::array<int, 3>& slots) : begins((slots[0] == 0 ? 3 : harmonics_dim(lmax)) + 1) {
    for_each_coupling(lmax, [&](int64_t axis, int64_t a, int64_t b, double) { ++begins[pick(slots[0], axis, a, b) + 1]; });
    for (size_t k = 1; k < begins.size(); ++k) begins[k] += begins[k - 1];
    terms.resize(begins.back());
    std::vector<int64_t> next(begins.begin(), begins.end() - 1);
    for_each_coupling(lmax, [&](int64_t axis, int64_t a, int64_t b, double value) {
      terms[next[pick(slots[0], axis, a, b)]++] = {
          static_cast<int32_t>(pick(slots[1], axis, a, b)), static_cast<int32_t>(pick(slots[2], axis, a, b)), static_cast<T>(value)};
    });
  }

 private:
  static int64_t pick(int slot, int64_t axis, int64_t a, int64_t b) {
    return slot == 0 ? axis : slot == 1 ? a : b;
  }
};

// left, right [component][W] -> out [component][W]
template <int W, typename T>
IRREPNET_INLINE void bilinear_sweep(const T* left, const T* right, T* out, const BilinearTable<T>& table) {
  const auto* terms = table.terms.data();
  const int64_t* begins = table.begins.data();
  const int64_t rows = static_cast<int64_t>(table.begins.size()) - 1;
  for (int64_t row = 0; row < rows; ++row) {
    T sum[W];
#pragma omp simd
    for (int k = 0; k < W; ++k) sum[k] = T(0);
#pragma GCC unroll 1
    for (int64_t n = begins[row]; n < begins[row + 1]; ++n) {
      const T value = terms[n].value;
      const T* u = left + terms[n].left * W;
      const T* w = right + terms[n].right * W;
#pragma omp simd
      for (int k = 0; k < W; ++k) sum[k] += value * u[k] * w[k];
    }
#pragma omp simd
    for (int k = 0; k < W; ++k) out[row * W + k] = sum[k];
  }
}

}  // namespace irrepnet
