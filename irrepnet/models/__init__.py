"""Whole networks, each with one frozen configuration, and the files they are kept in."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "ForceField": "force_field",
        "ForceFieldConfig": "force_field",
        "MODELS": "registry",
        "Prediction": "force_field",
        "PropertyConfig": "property",
        "PropertyModel": "property",
        "TensorConfig": "tensor",
        "TensorModel": "tensor",
        "Trunk": "trunk",
        "TrunkConfig": "trunk_config",
        "build_model": "registry",
        "closest_approaches": "repulsion",
        "edge_vectors": "trunk",
        "kind_of": "registry",
        "load_model": "checkpoint",
        "load_tensors": "checkpoint",
        "property_statistics": "property",
        "save_model": "checkpoint",
        "save_tensors": "checkpoint",
        "tensor_statistics": "tensor_statistics",
        "write_atomic": "checkpoint",
    },
)
