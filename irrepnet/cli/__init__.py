"""The command line: ``irrepnet init | check-data | train | eval | predict | ...``; ``irrepnet --help`` lists all."""

from irrepnet._lazy import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__, {"main": "main"})
