#pragma once

// Functions that a kernel must swallow whole, so that they are compiled for the kernel's instruction set or device.
#if defined(__CUDACC__)
#define IRREPNET_INLINE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define IRREPNET_INLINE inline __attribute__((always_inline))
#else
#define IRREPNET_INLINE inline
#endif

// Loops over the components of one irrep must be unrolled, so that arrays over them live in registers.
#if defined(__CUDACC__)
#define IRREPNET_UNROLL _Pragma("unroll")
#elif defined(__clang__)
#define IRREPNET_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define IRREPNET_UNROLL _Pragma("GCC unroll 16")
#else
#define IRREPNET_UNROLL
#endif
