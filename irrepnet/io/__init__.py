"""Between geometry and irreps: Cartesian tensors, and signals on the sphere with the points they stand for."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "CartesianTensor": "cartesian_tensor",
        "Peaks": "peaks",
        "SignalOnGrid": "spherical_tensor",
        "SphericalTensor": "spherical_tensor",
        "draw_signals": "signal_figures",
        "find_peaks": "peaks",
        "irrep_parts": "irrep_parts",
        "irrep_spread": "irrep_parts",
    },
)
