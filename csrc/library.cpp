// Every op of irrepnet, in the order of irrepnet/ops. The kernels register themselves, one file per op and device;
// shapes under tracing, derivatives, vmap and autocast are registered from Python (irrepnet/ops/_register.py).
// Sizes that may vary between calls are SymInt, so that export does not freeze them; lmax is fixed by the model.

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(irrepnet, m) {
  // Solid harmonics R, or with `normalize` those of the direction: xyz [..., 3] -> Y [..., (lmax+1)^2].
  m.def("spherical_harmonics(Tensor xyz, int lmax, bool normalize) -> Tensor");
  // The gradient of g.Y(xyz) [..., 3], and the slopes of Y and of that gradient along v [..., 3].
  m.def("spherical_harmonics_backward(Tensor g, Tensor xyz, int lmax, bool normalize) -> Tensor");
  m.def(
      "spherical_harmonics_double_backward(Tensor v, Tensor g, Tensor xyz, int lmax, bool normalize)"
      " -> (Tensor, Tensor)");
  // The gradients of T(v, g, r) = sum_i v_i g.(G_i r), where d_i R = G_i R, with respect to v [..., 3], g and r
  // [..., (lmax+1)^2]: what derivatives of still higher order are made of.
  m.def("spherical_harmonics_gradient_v(Tensor g, Tensor r, int lmax) -> Tensor");
  m.def("spherical_harmonics_gradient_g(Tensor v, Tensor r, int lmax) -> Tensor");
  m.def("spherical_harmonics_gradient_r(Tensor v, Tensor g, int lmax) -> Tensor");
  // Sum over edges of x[src] times y times weights, along channelwise paths (irrepnet/ops/convolution.py).
  // x [num_src, dim_x], y [E, dim_y], weights [E, W] or [W] -> [num_dst, dim_out]
  m.def(
      "convolve(Tensor x, Tensor y, Tensor? weights, Tensor src, Tensor by_dst, Tensor dst_ptr, Tensor tables, "
      "int[] paths, int dim_out) -> Tensor");
  // Gradients with respect to x, y and weights, given that of the output; `needs` has a bit for each, and one that is
  // not needed is empty.
  m.def(
      "convolve_backward(Tensor g, Tensor x, Tensor y, Tensor? weights, Tensor src, Tensor by_dst, Tensor dst_ptr, "
      "Tensor tables, int[] paths, int dim_out, int needs) -> (Tensor, Tensor, Tensor)");
  // Directional derivatives of these three, and of the output (bit 8), along (dx, dy, dweights); g is held.
  m.def(
      "convolve_second(Tensor? dx, Tensor? dy, Tensor? dweights, Tensor g, Tensor x, Tensor y, Tensor? weights, "
      "Tensor src, Tensor by_dst, Tensor dst_ptr, Tensor tables, int[] paths, int dim_out, int needs) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  // Pairs of channels, row by row (irrepnet/ops/pair_product.py): with T the sum of weights C x y g, its gradient with
  // respect to the argument of the slot (0 to 3), which is not given. x, y and g have Z rows; weights have `sets`, each
  // for as many rows.
  m.def(
      "pair_product(Tensor? x, Tensor? y, Tensor? weights, Tensor? g, Tensor tables, int[] plan, int slot, SymInt sets) "
      "-> Tensor");
  // Channels of one irrep mix (irrepnet/ops/linear.py): x [Z, dim_in], weights [S, W] (S: 1, or species [Z], or Z) ->
  // [Z, dim_out], or with the matrices transposed [Z, dim_out] -> [Z, dim_in]; and the gradient to the weights, [S, W].
  m.def(
      "linear(Tensor x, Tensor weights, Tensor? species, int[] plan, float[] scales, bool transposed) -> Tensor");
  m.def(
      "linear_weights(Tensor x, Tensor g, Tensor? species, int[] plan, float[] scales, SymInt num_species) -> Tensor");
  // Four neighbouring rows of a table, weighed: b [E, 4], row [E] int64, table [rows, W] -> [E, W], and the other two
  // gradients of T(g, b, t) = sum_e sum_a b[e, a] g[e].t[row[e] + a].
  m.def("radial_table(Tensor b, Tensor row, Tensor table) -> Tensor");
  m.def("radial_table_gradient_b(Tensor g, Tensor row, Tensor table) -> Tensor");
  m.def("radial_table_gradient_table(Tensor g, Tensor b, Tensor row, SymInt table_rows) -> Tensor");
}
