#pragma once

// A GPU for tests on machines that have none: blocks run one after another, the threads of a block take turns at every
// synchronisation. Shared memory is full of NaN when a block starts, and writing beyond what was asked for is noticed.
// It shows wrong indices, forgotten synchronisation and uninitialised memory; it says nothing about speed.

#include <torch/csrc/stable/library.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

using std::min;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;
// Kernels register themselves for the CPU, whose tensors they are given.
#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(ns, device, m) _STABLE_TORCH_LIBRARY_IMPL(ns, CPU, m, C10_UID)

using cudaStream_t = void*;
enum cudaError_t { cudaSuccess, cudaErrorInvalidValue };
inline const char* cudaGetErrorString(cudaError_t) { return "invalid launch"; }

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  void* attrs;
  unsigned numAttrs;
};

namespace emulated {

constexpr size_t kShared = 48 * 1024, kGuard = 4 * 1024, kStack = 256 * 1024;

// What waits until all `size` threads that are left have come.
struct Barrier {
  int size = 0, arrived = 0;
  uint64_t generation = 0;

  void leave() { --size, check(); }
  void check() {
    if (arrived > 0 && arrived >= size) arrived = 0, ++generation;
  }
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool done = true;
};

struct Block {
  std::vector<Thread> threads;
  std::vector<Barrier> warps;
  Barrier all;
  std::vector<double> exchange;
  ucontext_t scheduler;
  std::function<void()> body;
};

inline Block block;

inline void run_thread() {
  const unsigned self = threadIdx.x;
  block.body();
  block.threads[self].done = true;
  block.warps[self / 32].leave();
  block.all.leave();
}

inline void wait(Barrier& barrier) {
  const uint64_t mine = barrier.generation;
  const dim3 self = threadIdx;
  ++barrier.arrived;
  barrier.check();
  do {
    swapcontext(&block.threads[self.x].context, &block.scheduler);
    threadIdx = self;
  } while (barrier.generation == mine);
}

inline void fail(const char* what) {
  std::fprintf(stderr, "emulated GPU: %s\n", what);
  std::abort();
}

void run_block(unsigned index, size_t shared);

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::block.all); }
inline void __syncwarp() { emulated::wait(emulated::block.warps[threadIdx.x / 32]); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  const unsigned self = threadIdx.x;
  std::memcpy(&emulated::block.exchange[self], &value, sizeof(T));
  __syncwarp();
  std::memcpy(&value, &emulated::block.exchange[self ^ mask], sizeof(T));
  __syncwarp();
  return value;
}

template <typename... Params, typename... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...), const Args&... args) {
  const unsigned threads = config->blockDim.x;
  if (threads == 0 || threads > 1024 || config->gridDim.x == 0 || config->dynamicSmemBytes > emulated::kShared) {
    return cudaErrorInvalidValue;
  }
  gridDim = dim3(min(config->gridDim.x, 7u));  // few blocks, so that strides are walked
  blockDim = config->blockDim;
  emulated::block.body = [&] { kernel(args...); };
  for (unsigned index = 0; index < gridDim.x; ++index) emulated::run_block(index, config->dynamicSmemBytes);
  return cudaSuccess;
}
