"""Layers that keep the promise of their irreps: convolution on points, radial networks, gates, activations, readouts.

``Activation`` and ``Gate`` have the signatures and conventions of e3nn 0.6; the other names are this package's own.
"""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Activation": "activation",
        "BesselBasis": "radial_basis",
        "Gate": "gate",
        "IrrepsReadout": "pool",
        "PointConvolution": "point_convolution",
        "PolynomialEnvelope": "envelope",
        "RadialNetwork": "radial_network",
        "ScalarReadout": "pool",
        "SpeciesLinear": "species_linear",
        "TensorProductConv": "tensor_product_conv",
        "second_moment_factor": "second_moment",
        "sum_pool": "pool",
    },
)
