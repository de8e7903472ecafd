#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

namespace irrepnet {

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
