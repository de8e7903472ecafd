#pragma once

// Sums over the lanes of vectors, and vectors that memory holds only in part.

#include <cstdint>
#include <type_traits>
#include <utility>

#include "../shared/convolution.h"
#include "pack.h"

namespace irrepnet {

// Register by register: the compiler copies a whole Pack by way of the stack.
template <typename T, int bytes, int count>
struct Memory<Pack<T, bytes, count>> {
  using V = Pack<T, bytes, count>;

  static IRREPNET_INLINE V load(const T* from) {
    V value;
    const auto* parts = reinterpret_cast<const typename V::Register*>(from);
    IRREPNET_UNROLL
    for (int n = 0; n < count; ++n) value.part[n] = parts[n];
    return value;
  }

  static IRREPNET_INLINE void store(T* to, const V& value) {
    auto* parts = reinterpret_cast<typename V::Register*>(to);
    IRREPNET_UNROLL
    for (int n = 0; n < count; ++n) parts[n] = value.part[n];
  }
};

// The first `count` numbers; the others are zero, and memory from `end` on is not touched.
template <typename V, typename T>
IRREPNET_INLINE V load_part(const T* from, int64_t count, const T* end) {
  if (count >= V::size) return load<V>(from);
  V value(T(0));
  if (from + V::size <= end) {
    using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
    typedef Integer Mask __attribute__((vector_size(sizeof(value.part[0]))));
    constexpr int lanes = V::size / V::registers;
    Mask place;
    for (int n = 0; n < lanes; ++n) place[n] = n;
    const V whole = load<V>(from);
    for (int r = 0; r < V::registers; ++r) {
      const Mask keep = place < static_cast<Integer>(count - r * lanes);
      value.part[r] = reinterpret_cast<typename V::Register>(reinterpret_cast<Mask>(whole.part[r]) & keep);
    }
    return value;
  }
  T lanes[V::size] = {};
  for (int64_t n = 0; n < count; ++n) lanes[n] = from[n];
  return load<V>(lanes);
}

template <typename V, typename T>
IRREPNET_INLINE void store_part(T* to, const V& value, int64_t count) {
  if (count >= V::size) {
    store(to, value);
    return;
  }
  T lanes[V::size];
  store(lanes, value);
  for (int64_t n = 0; n < count; ++n) to[n] = lanes[n];
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define IRREPNET_SHUFFLES
#endif
#endif

#if defined(IRREPNET_SHUFFLES)
// Adds neighbouring halves of groups of lanes, those of `a` to lower places and those of `b` to upper ones.
template <int group, typename Register, size_t... p>
IRREPNET_INLINE Register add_halves(const Register& a, const Register& b, std::index_sequence<p...>) {
  constexpr int lanes = sizeof...(p), half = group / 2;
  constexpr auto from = [](int place, int second) {
    const int within = place % group;
    return place / group * group + within % half + second * half + (within >= half ? lanes : 0);
  };
  return __builtin_shufflevector(a, b, from(p, 0)...) + __builtin_shufflevector(a, b, from(p, 1)...);
}

template <int group, int count, typename Register>
IRREPNET_INLINE void fold(Register* v) {
  if constexpr (group > 1) {
    constexpr int lanes = count;
    IRREPNET_UNROLL
    for (int n = 0; n < group / 2; ++n) {
      v[n] = add_halves<group>(v[n], v[n + group / 2], std::make_index_sequence<lanes>());
    }
    fold<group / 2, count>(v);
  }
}
#endif

// sums[n] = sum over the lanes of vectors[n * step], for n < count; zero for the others up to a whole register of sums.
template <typename V, typename T>
IRREPNET_INLINE void sum_lanes(const V* vectors, int64_t step, int64_t count, T* sums) {
  static_assert(V::registers == 1);
  constexpr int lanes = V::size;
#if defined(IRREPNET_SHUFFLES)
  typename V::Register v[lanes];
  if (count >= lanes) {
    IRREPNET_UNROLL
    for (int n = 0; n < lanes; ++n) v[n] = vectors[n * step].part[0];
  } else {
    IRREPNET_UNROLL
    for (int n = 0; n < lanes; ++n) v[n] = n < count ? vectors[n * step].part[0] : typename V::Register{};
  }
  fold<lanes, lanes>(v);
  *reinterpret_cast<typename V::Register*>(sums) = v[0];
#else
  for (int n = 0; n < lanes; ++n) {
    T sum = 0;
    for (int k = 0; n < count && k < lanes; ++k) sum += vectors[n * step].part[0][k];
    sums[n] = sum;
  }
#endif
}

// A kernel's lambdas must be swallowed whole, too.
#define IRREPNET_LAMBDA __attribute__((always_inline))

template <typename V>
struct As {
  using type = V;
};

// Calls body(c, As<V>) for channels [begin, end), a multiple of 64 bytes: pairs of vectors first, then single ones.
template <typename Wide, typename Narrow, typename Body>
IRREPNET_INLINE void for_channels(int64_t begin, int64_t end, const Body& body) {
  for (; begin + Wide::size <= end; begin += Wide::size) body(begin, As<Wide>());
  if constexpr (sizeof(Wide) > 64) {
    for (; begin < end; begin += Narrow::size) body(begin, As<Narrow>());
  }
}

// Calls body with a number of components that the compiler knows, or with 0 where it is none of the usual; where
// vectors are narrow although the processor could be any of a wide family, always with 0, to keep the library small.
template <typename V, typename Body>
IRREPNET_INLINE void with_dims(int64_t dims, const Body& body) {
#if defined(__x86_64__)
  if constexpr (sizeof(V) / V::registers == 16) return body(std::integral_constant<int, 0>());
#endif
  switch (dims) {
    case 1: return body(std::integral_constant<int, 1>());
    case 3: return body(std::integral_constant<int, 3>());
    case 5: return body(std::integral_constant<int, 5>());
    case 7: return body(std::integral_constant<int, 7>());
    default: return body(std::integral_constant<int, 0>());
  }
}

}  // namespace irrepnet
