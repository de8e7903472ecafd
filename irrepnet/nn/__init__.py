"""Layers that keep the promise of their irreps: convolution on points, radial networks, gates, activations, readouts.

Modules that e3nn 0.6 has too bear its names, signatures and conventions; the other names are this package's own.
"""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "Activation": "activation",
        "BatchNorm": "batch_norm",
        "BesselBasis": "radial_basis",
        "Dropout": "dropout",
        "Extract": "extract",
        "ExtractIr": "extract",
        "FullyConnectedNet": "fully_connected_net",
        "Gate": "gate",
        "Identity": "identity",
        "IrrepsReadout": "pool",
        "LayerNorm": "layer_norm",
        "NormActivation": "norm_activation",
        "PointConvolution": "point_convolution",
        "PolynomialEnvelope": "envelope",
        "RMSNorm": "layer_norm",
        "RadialNetwork": "radial_network",
        "Residual": "residual",
        "S2Activation": "s2_activation",
        "SO3Activation": "so3_activation",
        "ScalarReadout": "pool",
        "SpeciesLinear": "species_linear",
        "TensorProductConv": "tensor_product_conv",
        "ZBLRepulsion": "zbl",
        "sum_pool": "pool",
    },
)
