// Every op of irrepnet, in the order of irrepnet/ops. The kernels register themselves, one file per op and device;
// shapes under tracing, derivatives, vmap and autocast are registered from Python (irrepnet/ops/_register.py).
// Sizes that may vary between calls are SymInt, so that export does not freeze them.

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(irrepnet, m) {
  // [..., 3] -> [..., (lmax+1)^2]
  m.def("spherical_harmonics(Tensor xyz, int lmax) -> Tensor");
  // The gradients of T(v, g, r) = sum_i v_i g.(G_i r) with respect to v [..., 3], g and r [..., (lmax+1)^2].
  m.def("spherical_harmonics_vjp(Tensor g, Tensor r, int lmax) -> Tensor");
  m.def("spherical_harmonics_jvp(Tensor v, Tensor r, int lmax) -> Tensor");
  m.def("spherical_harmonics_jvp_adjoint(Tensor v, Tensor g, int lmax) -> Tensor");
}
