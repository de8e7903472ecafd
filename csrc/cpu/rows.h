#pragma once

// Tensors hold points row after row; kernels want the same component of many points side by side.

#include <cstdint>
#include <utility>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "lanes.h"
#include "pack.h"

namespace irrepnet {

// Square tiles that turn without going through memory number by number.
#if defined(__SSE2__)
IRREPNET_INLINE void turn_tile(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + from_stride);
  __m128 c = _mm_loadu_ps(from + 2 * from_stride), d = _mm_loadu_ps(from + 3 * from_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(to, a);
  _mm_storeu_ps(to + to_stride, b);
  _mm_storeu_ps(to + 2 * to_stride, c);
  _mm_storeu_ps(to + 3 * to_stride, d);
}

IRREPNET_INLINE void turn_tile(const double* from, int64_t from_stride, double* to, int64_t to_stride) {
  const __m128d a = _mm_loadu_pd(from), b = _mm_loadu_pd(from + from_stride);
  _mm_storeu_pd(to, _mm_unpacklo_pd(a, b));
  _mm_storeu_pd(to + to_stride, _mm_unpackhi_pd(a, b));
}
#else
template <typename T>
IRREPNET_INLINE void turn_tile(const T* from, int64_t from_stride, T* to, int64_t to_stride) {
  constexpr int tile = 16 / sizeof(T);
  for (int r = 0; r < tile; ++r) {
    for (int c = 0; c < tile; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}
#endif

// to[c * to_stride + r] = from[r * from_stride + c]
template <typename T>
IRREPNET_INLINE void turn(
    const T* from, int64_t from_stride, int64_t rows, int64_t columns, T* to, int64_t to_stride) {
  constexpr int tile = 16 / sizeof(T);
  int64_t r = 0;
  for (; r + tile <= rows; r += tile) {
    int64_t c = 0;
    for (; c + tile <= columns; c += tile) {
      turn_tile(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    }
    for (; c < columns; ++c) {
      for (int64_t k = r; k < r + tile; ++k) to[c * to_stride + k] = from[k * from_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define IRREPNET_TURNS_IN_REGISTERS
#endif
#endif

#if defined(IRREPNET_TURNS_IN_REGISTERS)
// A quarter of a 64-byte register, or all of a 16-byte one: what one store of a turned row fills.
template <typename T>
struct Chunk {
  typedef T Vector __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  static constexpr int size = 16 / sizeof(T);
};

// Shuffles of whole registers by the compiler's own notation, which every instruction set understands.
// Lower (half = 0) or upper (1) halves of all 16-byte chunks of two registers, number by number in turn.
template <typename T, int half, typename Register, size_t... k>
IRREPNET_INLINE Register interleave(const Register& a, const Register& b, std::index_sequence<k...>) {
  constexpr int lanes = sizeof...(k), size = Chunk<T>::size;
  return __builtin_shufflevector(a, b, (k / size * size + half * size / 2 + k % size / 2 + k % 2 * lanes)...);
}

// Turns the square tiles that lie in the same chunk of `Chunk::size` registers, all at once.
template <typename T, int lanes, typename Register>
IRREPNET_INLINE void turn_chunks(Register* v) {
  constexpr int size = Chunk<T>::size;
  constexpr std::make_index_sequence<lanes> all;
  for (int stage = 1; stage < size; stage *= 2) {
    Register w[size];
    for (int k = 0; k < size / 2; ++k) {
      w[2 * k] = interleave<T, 0>(v[k], v[k + size / 2], all);
      w[2 * k + 1] = interleave<T, 1>(v[k], v[k + size / 2], all);
    }
    for (int k = 0; k < size; ++k) v[k] = w[k];
  }
}

template <typename T, int chunk, typename Register, size_t... k>
IRREPNET_INLINE typename Chunk<T>::Vector extract(const Register& v, std::index_sequence<k...>) {
  return __builtin_shufflevector(v, v, (chunk * Chunk<T>::size + k)...);
}

template <typename Vector, size_t... k>
IRREPNET_INLINE auto join(const Vector& a, const Vector& b, std::index_sequence<k...>) {
  return __builtin_shufflevector(a, b, k...);
}

// One register from chunks in memory, `stride` numbers apart.
template <typename T, int lanes>
IRREPNET_INLINE auto gather_chunks(const T* from, int64_t stride) {
  if constexpr (lanes == Chunk<T>::size) {
    return *reinterpret_cast<const typename Chunk<T>::Vector*>(from);
  } else {
    const auto a = gather_chunks<T, lanes / 2>(from, stride);
    const auto b = gather_chunks<T, lanes / 2>(from + lanes / 2 / Chunk<T>::size * stride, stride);
    return join(a, b, std::make_index_sequence<lanes>());
  }
}

template <typename T, typename Register, size_t... chunk>
IRREPNET_INLINE void scatter_chunks(const Register& v, T* to, int64_t stride, std::index_sequence<chunk...>) {
  constexpr std::make_index_sequence<Chunk<T>::size> all;
  ((*reinterpret_cast<typename Chunk<T>::Vector*>(to + chunk * stride) = extract<T, chunk>(v, all)), ...);
}

// Lower (half = 0) or upper (1) halves of two registers, number by number in turn.
template <int half, typename Register, size_t... k>
IRREPNET_INLINE Register zip(const Register& a, const Register& b, std::index_sequence<k...>) {
  constexpr int lanes = sizeof...(k);
  return __builtin_shufflevector(a, b, (half * lanes / 2 + k / 2 + k % 2 * lanes)...);
}

// Four registers -> rows of four numbers, one after the other.
template <int lanes, typename Register>
IRREPNET_INLINE void store_fours(const Register& a, const Register& b, const Register& c, const Register& d,
                                 Register* rows) {
  constexpr std::make_index_sequence<lanes> all;
  const Register ac = zip<0>(a, c, all), bd = zip<0>(b, d, all), AC = zip<1>(a, c, all), BD = zip<1>(b, d, all);
  rows[0] = zip<0>(ac, bd, all);
  rows[1] = zip<1>(ac, bd, all);
  rows[2] = zip<0>(AC, BD, all);
  rows[3] = zip<1>(AC, BD, all);
}

// xyz xyz xyz ... in three registers <-> x, y and z in a register each. Number n of the rows is component n % 3 of
// point n / 3. Two steps, because a shuffle reads two registers only.
template <int c, typename Register, size_t... k>
IRREPNET_INLINE Register pick_component(const Register* v, std::index_sequence<k...>) {
  constexpr int lanes = sizeof...(k);
  const Register first = __builtin_shufflevector(v[0], v[1], (3 * k + c < 2 * lanes ? 3 * k + c : k)...);
  return __builtin_shufflevector(first, v[2], (3 * k + c < 2 * lanes ? k : 3 * k + c - lanes)...);
}

template <int r, typename Register, size_t... k>
IRREPNET_INLINE Register mix_components(const Register& x, const Register& y, const Register& z,
                                        std::index_sequence<k...>) {
  constexpr int lanes = sizeof...(k), from = r * lanes;
  const Register first = __builtin_shufflevector(x, y, ((k + from) / 3 + ((k + from) % 3 == 1 ? lanes : 0))...);
  return __builtin_shufflevector(first, z, ((k + from) % 3 == 2 ? lanes + (k + from) / 3 : k)...);
}
#endif

// Columns [width] of rows that begin every `stride` numbers -> packs [width]; the places beyond count are zero.
template <typename T, int bytes, int registers>
IRREPNET_INLINE void load_columns(const T* rows, int64_t stride, int64_t count, int64_t width,
                                  Pack<T, bytes, registers>* packs) {
  using V = Pack<T, bytes, registers>;
  if (count < V::size) {
    for (int64_t k = 0; k < width; ++k) packs[k] = V(T(0));
    return turn(rows, stride, count, width, reinterpret_cast<T*>(packs), V::size);
  }
  int64_t c = 0;
#if defined(IRREPNET_TURNS_IN_REGISTERS)
  constexpr int lanes = V::size / registers, size = Chunk<T>::size;
  for (; c + size <= width; c += size) {
    for (int p = 0; p < registers; ++p) {
      typename V::Register v[size];
      for (int k = 0; k < size; ++k) {
        v[k] = gather_chunks<T, lanes>(rows + (p * lanes + k) * stride + c, size * stride);
      }
      turn_chunks<T, lanes>(v);
      for (int k = 0; k < size; ++k) packs[c + k].part[p] = v[k];
    }
  }
#endif
  for (; c < width; ++c) {
    T* to = reinterpret_cast<T*>(packs + c);
    for (int r = 0; r < V::size; ++r) to[r] = rows[r * stride + c];
  }
}

// rows [count, width] -> packs [width]
template <typename T, int bytes, int registers>
IRREPNET_INLINE void load_rows(const T* rows, int64_t count, int64_t width, Pack<T, bytes, registers>* packs) {
  load_columns(rows, width, count, width, packs);
}

// packs [width] -> columns [width] of rows that begin every `stride` numbers
template <typename T, int bytes, int registers>
IRREPNET_INLINE void store_columns(const Pack<T, bytes, registers>* packs, int64_t count, int64_t width, T* rows,
                                   int64_t stride) {
  using V = Pack<T, bytes, registers>;
  if (count < V::size) return turn(reinterpret_cast<const T*>(packs), V::size, width, count, rows, stride);
  int64_t c = 0;
#if defined(IRREPNET_TURNS_IN_REGISTERS)
  constexpr int lanes = V::size / registers, size = Chunk<T>::size;
  for (; c + size <= width; c += size) {
    for (int p = 0; p < registers; ++p) {
      typename V::Register v[size];
      for (int k = 0; k < size; ++k) v[k] = packs[c + k].part[p];
      turn_chunks<T, lanes>(v);
      for (int k = 0; k < size; ++k) {
        scatter_chunks(v[k], rows + (p * lanes + k) * stride + c, size * stride,
                       std::make_index_sequence<lanes / size>());
      }
    }
  }
#endif
  for (; c < width; ++c) {
    const T* from = reinterpret_cast<const T*>(packs + c);
    for (int r = 0; r < V::size; ++r) rows[r * stride + c] = from[r];
  }
}

// packs [width] -> rows [count, width]
template <typename T, int bytes, int registers>
IRREPNET_INLINE void store_rows(const Pack<T, bytes, registers>* packs, int64_t count, int64_t width, T* rows) {
#if defined(IRREPNET_TURNS_IN_REGISTERS)
  using V = Pack<T, bytes, registers>;
  if (width == 4 && count == V::size) {
    auto* to = reinterpret_cast<typename V::Register*>(rows);
    for (int p = 0; p < registers; ++p, to += 4) {
      store_fours<V::size / registers>(packs[0].part[p], packs[1].part[p], packs[2].part[p], packs[3].part[p], to);
    }
    return;
  }
#endif
  store_columns(packs, count, width, rows, width);
}

// The same for long rows, by way of a cache line of each: those of rows that lie far apart drive one another out of it.
template <typename V, typename T>
IRREPNET_INLINE void load_lines(const T* rows, int64_t stride, int64_t count, int64_t width, V* packs) {
  using Line = Pack<T, sizeof(V::part[0]), 64 / sizeof(V::part[0])>;
  int64_t c = 0;
  alignas(64) T lines[V::size * Line::size];
  for (; count == V::size && c + Line::size <= width; c += Line::size) {
    for (int64_t r = 0; r < count; ++r) {
      __builtin_prefetch(rows + r * stride + c + 2 * Line::size);  // the processor foresees long runs only
      store(lines + r * Line::size, load<Line>(rows + r * stride + c));
    }
    load_columns(lines, Line::size, count, Line::size, packs + c);
  }
  load_columns(rows + c, stride, count, width - c, packs + c);
}

template <typename V, typename T>
IRREPNET_INLINE void store_lines(const V* packs, int64_t count, int64_t width, T* rows, int64_t stride) {
  using Line = Pack<T, sizeof(V::part[0]), 64 / sizeof(V::part[0])>;
  int64_t c = 0;
  alignas(64) T lines[V::size * Line::size];
  for (; count == V::size && c + Line::size <= width; c += Line::size) {
    store_columns(packs + c, count, Line::size, lines, Line::size);
    for (int64_t r = 0; r < count; ++r) {
      __builtin_prefetch(rows + r * stride + c + 2 * Line::size, 1);
      store(rows + r * stride + c, load<Line>(lines + r * Line::size));
    }
  }
  store_columns(packs + c, count, width - c, rows + c, stride);
}

// The same by way of `block`, room for `width` packs: long rows are turned where the caches are near, and memory sees
// one stream of whole registers.
template <typename V, typename T>
IRREPNET_INLINE void load_block(const T* rows, int64_t count, int64_t width, V* packs, V* block) {
  if (count < V::size || width <= 4) return load_rows(rows, count, width, packs);
  const V* from = reinterpret_cast<const V*>(rows);
  for (int64_t k = 0; k < width; ++k) block[k] = from[k];
  load_rows(reinterpret_cast<const T*>(block), V::size, width, packs);
}

template <typename V, typename T>
IRREPNET_INLINE void store_block(const V* packs, int64_t count, int64_t width, T* rows, V* block) {
  if (count < V::size || width <= 4) return store_rows(packs, count, width, rows);
  store_rows(packs, V::size, width, reinterpret_cast<T*>(block));
  V* to = reinterpret_cast<V*>(rows);
  for (int64_t k = 0; k < width; ++k) to[k] = block[k];
}

// The same for vectors [count, 3].
template <typename T, int bytes, int registers>
IRREPNET_INLINE void load_vectors(const T* rows, int64_t count, Pack<T, bytes, registers>* packs) {
#if defined(IRREPNET_TURNS_IN_REGISTERS)
  using V = Pack<T, bytes, registers>;
  if (count == V::size) {
    constexpr std::make_index_sequence<V::size / registers> all;
    const auto* v = reinterpret_cast<const typename V::Register*>(rows);
    for (int p = 0; p < registers; ++p, v += 3) {
      packs[0].part[p] = pick_component<0>(v, all);
      packs[1].part[p] = pick_component<1>(v, all);
      packs[2].part[p] = pick_component<2>(v, all);
    }
    return;
  }
#endif
  load_rows(rows, count, 3, packs);
}

template <typename T, int bytes, int registers>
IRREPNET_INLINE void store_vectors(const Pack<T, bytes, registers>* packs, int64_t count, T* rows) {
#if defined(IRREPNET_TURNS_IN_REGISTERS)
  using V = Pack<T, bytes, registers>;
  if (count == V::size) {
    constexpr std::make_index_sequence<V::size / registers> all;
    auto* v = reinterpret_cast<typename V::Register*>(rows);
    for (int p = 0; p < registers; ++p, v += 3) {
      v[0] = mix_components<0>(packs[0].part[p], packs[1].part[p], packs[2].part[p], all);
      v[1] = mix_components<1>(packs[0].part[p], packs[1].part[p], packs[2].part[p], all);
      v[2] = mix_components<2>(packs[0].part[p], packs[1].part[p], packs[2].part[p], all);
    }
    return;
  }
#endif
  store_rows(packs, count, 3, rows);
}

}  // namespace irrepnet
