"""Checks that a layer keeps its promise, for unit tests: three lines show that a function is equivariant."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "EquivarianceReport": "report",
        "Permutation": "signature",
        "assert_equivariant": "equivariance",
        "assert_normalized": "normalization",
        "assert_periodic": "periodicity",
        "equivariance_error": "equivariance",
        "equivariance_loss": "equivariance_loss",
        "equivariant_basis": "equivariant_basis",
        "infer_parity": "parity",
        "strategies": "strategies",
    },
)
