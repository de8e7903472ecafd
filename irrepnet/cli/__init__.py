"""The command line: ``irrepnet train | eval | check-equivariance | doctor``."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, {"main": "main"})
