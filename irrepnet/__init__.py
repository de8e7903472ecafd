"""E(3)-equivariant networks on point clouds: irreps-typed layers, exact algebra, checked force fields."""

from irrepnet._lazy import lazy_face

__version__ = "0.1.0"

_ROOMS = "cli convert data deploy errors io math models nn o3 ops report testing train"

__getattr__, __dir__, __all__ = lazy_face(__name__, {name: name for name in _ROOMS.split()})
