// The scheduler of the emulated GPU, and what PyTorch would say of a real one.

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

namespace irrepnet {
double shared_numbers[(emulated::kShared + emulated::kGuard) / sizeof(double)];
}

namespace emulated {

void run_block(unsigned index, size_t shared) {
  const unsigned count = blockDim.x;
  auto* bytes = reinterpret_cast<unsigned char*>(irrepnet::shared_numbers);
  std::memset(bytes, 0xff, sizeof(irrepnet::shared_numbers));  // NaN in every floating-point type
  blockIdx = dim3(index, 0, 0);
  if (block.threads.size() < count) block.threads.resize(count);
  block.exchange.assign(count, 0);
  block.all = Barrier{static_cast<int>(count)};
  block.warps.assign((count + 31) / 32, Barrier{});
  for (unsigned t = 0; t < count; ++t) {
    Thread& thread = block.threads[t];
    if (!thread.stack) thread.stack.reset(new char[kStack]);
    ++block.warps[t / 32].size;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = &block.scheduler;
    thread.done = false;
    makecontext(&thread.context, run_thread, 0);
  }
  // Forwards in one round and backwards in the next: a result that depends on the order lacks a synchronisation.
  bool left = true;
  for (unsigned round = index; left; ++round) {
    left = false;
    for (unsigned n = 0; n < count; ++n) {
      const unsigned t = round % 2 ? n : count - 1 - n;
      if (block.threads[t].done) continue;
      left = true;
      threadIdx = dim3(t, 0, 0);
      swapcontext(&block.scheduler, &block.threads[t].context);
    }
  }
  for (size_t n = shared; n < sizeof(irrepnet::shared_numbers); ++n) {
    if (bytes[n] != 0xff) fail("a kernel wrote beyond the shared memory that it asked for");
  }
}

}  // namespace emulated

AOTITorchError aoti_torch_get_current_cuda_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}

AOTITorchError aoti_torch_create_device_guard(int32_t, DeviceGuardHandle* guard) {
  *guard = nullptr;
  return 0;
}

AOTITorchError aoti_torch_delete_device_guard(DeviceGuardHandle) { return 0; }
