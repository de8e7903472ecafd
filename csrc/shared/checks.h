#pragma once

// The stable ABI checks nothing: every kernel asks here for the dtype, device and sizes that it was written for.

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <sstream>
#include <string>
#include <vector>

namespace irrepnet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline std::string shape_text(const Tensor& tensor) {
  std::ostringstream text;
  text << "[";
  for (int64_t k = 0; k < tensor.dim(); ++k) text << (k ? ", " : "") << tensor.size(k);
  text << "]";
  return text.str();
}

inline void check_floating(const char* op, const char* name, const Tensor& tensor) {
  const auto dtype = tensor.scalar_type();
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double,
                  op, " needs ", name, " in float32 or float64; got ", torch::headeronly::toString(dtype), ".");
}

inline void check_last_axis(const char* op, const char* name, const Tensor& tensor, int64_t size) {
  STD_TORCH_CHECK(tensor.dim() > 0 && tensor.size(tensor.dim() - 1) == size,
                  op, " needs ", name, " [..., ", size, "]; got ", name, " ", shape_text(tensor), ".");
}

// Same dtype and device, and equal leading axes.
inline void check_alike(const char* op, const char* names, const Tensor& a, const Tensor& b) {
  STD_TORCH_CHECK(a.scalar_type() == b.scalar_type(), op, " needs ", names, " of one dtype; got ",
                  torch::headeronly::toString(a.scalar_type()), " and ", torch::headeronly::toString(b.scalar_type()), ".");
  STD_TORCH_CHECK(a.device() == b.device(), op, " needs ", names, " on one device.");
  bool alike = a.dim() == b.dim();
  for (int64_t k = 0; alike && k + 1 < a.dim(); ++k) alike = a.size(k) == b.size(k);
  STD_TORCH_CHECK(alike, op, " needs ", names, " with equal leading axes; got ", shape_text(a), " and ", shape_text(b), ".");
}

// New tensor with the leading axes of one and its own last axis.
inline Tensor new_rows(const Tensor& like, int64_t last) {
  std::vector<int64_t> sizes(like.sizes().begin(), like.sizes().end());
  sizes.back() = last;
  return torch::stable::new_empty(like, sizes);
}

}  // namespace irrepnet
