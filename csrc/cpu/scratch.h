#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace irrepnet {

// Asks for large pages, before memory is touched for the first time: a fault for every 4 KiB of a fresh tensor takes as
// long as filling it. Where the system cannot, nothing changes.
inline void prefer_large_pages(void* data, int64_t bytes) {
#if defined(__linux__)
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (bytes >= int64_t(4) << 20) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Memory of one thread, on whole cache lines, zero at first, with a vector to spare at the end.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : size_(size), data_(static_cast<T*>(::operator new(size * sizeof(T) + 64, std::align_val_t(64)))) {
    std::fill(data_, data_ + size + 64 / sizeof(T), T(0));
  }
  ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
  Scratch(const Scratch&) = delete;

  int64_t size() const { return size_; }
  T* operator+() const { return data_; }
  T* operator+(int64_t n) const { return data_ + n; }
  T& operator[](int64_t n) const { return data_[n]; }
  operator T*() const { return data_; }

 private:
  int64_t size_;
  T* data_;
};

}  // namespace irrepnet
