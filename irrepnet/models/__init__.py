"""Whole networks, each with one frozen configuration, and the files they are kept in."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(
    __name__,
    {
        "ForceField": "force_field",
        "ForceFieldConfig": "force_field",
        "MODELS": "registry",
        "Prediction": "force_field",
        "build_model": "registry",
        "edge_vectors": "force_field",
        "kind_of": "registry",
        "load_model": "checkpoint",
        "load_tensors": "checkpoint",
        "save_model": "checkpoint",
        "save_tensors": "checkpoint",
        "write_atomic": "checkpoint",
    },
)
