"""Algebra of O(3): irreps, rotations, spherical harmonics and the linear and bilinear maps that respect them.

Names, signatures and conventions are those of e3nn 0.6, so ``from e3nn import o3`` becomes ``from irrepnet import o3``.
"""

from irrepnet._lazy import lazy_face

_CONVERSIONS = (
    "angles_to_axis_angle angles_to_matrix angles_to_quaternion angles_to_xyz axis_angle_to_angles "
    "axis_angle_to_matrix axis_angle_to_quaternion "
    "matrix_to_angles matrix_to_axis_angle matrix_to_quaternion matrix_x matrix_y matrix_z "
    "quaternion_to_angles quaternion_to_axis_angle quaternion_to_matrix xyz_to_angles"
)
_GROUP = (
    "compose_angles compose_axis_angle compose_quaternion identity_angles identity_quaternion inverse_angles "
    "inverse_quaternion rand_angles rand_axis_angle rand_matrix rand_quaternion"
)

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "ElementwiseTensorProduct": "elementwise_tensor_product",
        "FromS2Grid": "s2grid",
        "FullTensorProduct": "full_tensor_product",
        "FullTensorProductv2": "experimental",
        "FullyConnectedTensorProduct": "full_tensor_product",
        "Instruction": "instruction",
        "Irrep": "irrep",
        "Irreps": "irreps",
        "Legendre": "legendre",
        "Linear": "linear",
        "Norm": "norm",
        "ReducedTensorProducts": "reduced_tensor_products",
        "SO3Grid": "so3grid",
        "SphericalHarmonics": "spherical_harmonics",
        "SphericalHarmonicsAlphaBeta": "angular_spherical_harmonics",
        "TensorProduct": "tensor_product",
        "TensorSquare": "tensor_square",
        "ToS2Grid": "s2grid",
        "change_basis_real_to_complex": "su2",
        "experimental": "experimental",
        "irfft": "s2grid",
        "irrep": "irrep",
        "rfft": "s2grid",
        "s2_grid": "s2grid",
        "so3_generators": "wigner",
        "spherical_harmonics": "spherical_harmonics",
        "spherical_harmonics_alpha": "angular_spherical_harmonics",
        "spherical_harmonics_alpha_beta": "angular_spherical_harmonics",
        "spherical_harmonics_s2_grid": "s2grid",
        "su2_generators": "su2",
        "wigner_3j": "wigner",
        "wigner_D": "wigner",
        **dict.fromkeys(_CONVERSIONS.split(), "rotation"),
        **dict.fromkeys(_GROUP.split(), "rotation_group"),
    },
)
