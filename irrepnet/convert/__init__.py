"""From other libraries to this one: modules with their weights, and the sign conventions of older versions."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "ConversionReport": "conversion_report",
        "flip_wigner_signs": "wigner_signs",
        "from_e3nn": "from_e3nn",
        "wigner_sign": "wigner_signs",
    },
)
