#pragma once

// How a kernel reaches the GPU: on the tensors' device, in PyTorch's current stream.

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>

#include <algorithm>
#include <cstdint>

#include "../shared/checks.h"

namespace irrepnet {

constexpr int64_t kMostShared = 48 * 1024;  // bytes of shared memory that every GPU gives a block without asking

// Memory that the threads of a block share.
template <typename T>
__device__ T* shared_memory() {
  extern __shared__ double shared_numbers[];
  return reinterpret_cast<T*>(shared_numbers);
}

// Calls body(T()) for the dtype of a tensor, which has been checked.
template <typename Body>
auto with_dtype(const Tensor& tensor, const Body& body) {
  return tensor.scalar_type() == ScalarType::Double ? body(double()) : body(float());
}

// Runs kernel(args...) with at most `blocks` blocks: a kernel takes what is left in strides of gridDim.x. Nothing waits
// for it, so an error of its own run is reported by a later call, as everywhere in PyTorch.
template <typename... Params, typename... Args>
void launch(const char* op, const Tensor& on, void (*kernel)(Params...), int64_t blocks, int64_t threads, int64_t shared,
            const Args&... args) {
  if (blocks == 0) return;
  const int32_t device = on.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(std::min<int64_t>(blocks, INT32_MAX)));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared);
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, Params(args)...);
  STD_TORCH_CHECK(error == cudaSuccess, op, " was refused by CUDA: ", cudaGetErrorString(error), ".");
}

}  // namespace irrepnet
