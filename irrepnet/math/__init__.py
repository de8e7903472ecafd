"""Bases, moments, permutations and radial functions, with the names and signatures of e3nn 0.6."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "bessel": "bessel",
        "complete_basis": "linalg",
        "direct_sum": "linalg",
        "germinate_formulas": "reduce_permutation",
        "moment": "moment",
        "normalize2mom": "normalize2mom",
        "orthonormalize": "linalg",
        "perm": "perm",
        "reduce_permutation": "reduce_permutation",
        "second_moment_factor": "second_moment",
        "soft_one_hot_linspace": "soft_one_hot_linspace",
        "soft_unit_step": "soft_unit_step",
    },
)
