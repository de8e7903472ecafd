"""A conservative, equivariant interatomic potential in the manner of NequIP: energy, forces and stress of a graph."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import silu

from irrepnet.data.graph import Graph
from irrepnet.errors import DataError, DtypeError
from irrepnet.nn.gate import Gate
from irrepnet.nn.point_convolution import PointConvolution
from irrepnet.o3.irreps import Irreps
from irrepnet.o3.linear import Linear
from irrepnet.ops.edge_order import EdgeOrder, edge_order
from irrepnet.ops.scatter import scatter_sum
from irrepnet.ops.spherical_harmonics import spherical_harmonics

__all__ = ["ForceField", "ForceFieldConfig", "Prediction"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
