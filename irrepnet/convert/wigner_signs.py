"""The signs of ``wigner_3j`` in e3nn 0.4.4, and products that keep them with weights trained there."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import torch
from torch import nn

from irrepnet.errors import ConfigError, IrrepsError, did_you_mean
from irrepnet.o3.instruction import product_plan
from irrepnet.o3.tensor_product import TensorProduct
from irrepnet.o3.wigner import table_3j

__all__ = ["flip_products", "flip_wigner_signs", "known_signs", "set_path_factors", "wigner_sign"]

_VERSIONS = ("0.6", "0.4.4")
_LMAX = 11  # the tables of e3nn 0.4.4 end here


def known_signs(version: str) -> str:
    """Return the name of a sign convention if there is one.

    Args:
        version: "0.6" (e3nn 0.5 and later, and here) or "0.4.4" (e3nn up to 0.4.4).

    Raises:
        ConfigError: If there is no such convention.

    Example:
        >>> known_signs("0.4.4")
        '0.4.4'
    """
    if version not in _VERSIONS:
        hint = did_you_mean(str(version), _VERSIONS)
        raise ConfigError(f"wigner_signs must be one of {', '.join(_VERSIONS)}; got {version!r}.{hint}")
    return version


@cache
def wigner_sign(l1: int, l2: int, l3: int) -> int:
    r"""Return the sign s for which ``s * wigner_3j(l1, l2, l3)`` is that of e3nn 0.4.4.

    With the degrees sorted, e3nn 0.4.4 has its middle component :math:`C_{000}` positive, as e3nn 0.6; where that is
    zero (l1 + l2 + l3 is odd), the first component that is not zero. So 44 of its 203 sorted triples have another sign.
    An exchange of degrees does to both what it does to ``wigner_3j``, so their order does not matter.

    Args:
        l1: First degree, at most 11, where the tables of e3nn 0.4.4 end.
        l2: Second degree.
        l3: Third degree.

    Returns:
        1 or -1.

    Raises:
        IrrepsError: If the degrees form no triangle, or one is above 11.

    Example:
        >>> wigner_sign(1, 1, 1), wigner_sign(1, 2, 2), wigner_sign(2, 1, 2), wigner_sign(1, 2, 3)
        (1, -1, -1, 1)
    """
    a, b, c = sorted((l1, l2, l3))
    if not 0 <= a <= b <= c <= min(a + b, _LMAX):
        raise IrrepsError(
            f"wigner_sign needs three degrees from 0 to {_LMAX} that form a triangle; got {l1}, {l2}, {l3}. "
            f"e3nn 0.4.4 knows degrees up to {_LMAX}."
        )
    if (a + b + c) % 2 == 0:
        return 1
    table = table_3j(a, b, c)
    return int(np.sign(table[np.nonzero(table)][0]))


def flip_wigner_signs(module: nn.Module) -> dict[str, int]:
    """Give the tensor products in a module the signs of e3nn 0.4.4, in place, once, after its weights were loaded.

    Paths whose ``wigner_3j`` has the other sign are multiplied by -1: in the weights where the product owns them alone,
    so that it stays a product like any other; else (no weights, weights given in the call, weights shared with another
    module) in the constant factor of the path. ``ReducedTensorProducts`` and ``CartesianTensor``, whose bases are made
    of ``wigner_3j``, keep the signs of 0.6.

    Args:
        module: Holds ``TensorProduct`` and classes derived from it.

    Returns:
        Name of each product that was changed -> number of its paths that were.

    Raises:
        IrrepsError: If a product has degrees that e3nn 0.4.4 does not know.

    Example:
        >>> from irrepnet.o3.full_tensor_product import FullTensorProduct
        >>> product = FullTensorProduct("1o", "2e")  # 1o, 2o and 3o
        >>> flip_wigner_signs(product)
        {'': 1}
        >>> [round(path.path_weight, 2) for path in product.instructions]
        [1.73, -2.24, 2.65]
    """
    names = {product: name for name, product in module.named_modules() if isinstance(product, TensorProduct)}
    flipped = flip_products(module, list(names))
    return {names[product]: number for product, number in flipped.items()}


def flip_products(module: nn.Module, products: list[TensorProduct]) -> dict[TensorProduct, int]:
    """Do what ``flip_wigner_signs`` does, to some of the products in a module.

    Args:
        module: Whose parameters may be shared among its parts.
        products: The products to change, each in ``module``.

    Returns:
        Each product that was changed -> number of its paths that were.

    Raises:
        IrrepsError: If a product has degrees that e3nn 0.4.4 does not know.

    Example:
        >>> product = TensorProduct("1o", "2e", "2o", [(0, 0, 0, "uvu", True)])
        >>> flip_products(product, [product])[product]
        1
    """
    owners = Counter(id(p) for part in module.modules() for p in part._parameters.values() if p is not None)
    wrong = {product: _wrong_paths(product) for product in products}  # all, before the first is changed
    changed = {product: paths for product, paths in wrong.items() if paths}
    for product, paths in changed.items():
        _flip(product, paths, owners[id(product.weight)] == 1)
    return {product: len(paths) for product, paths in changed.items()}


def set_path_factors(product: TensorProduct, factors: list[float]) -> None:
    """Replace the constant factor of each path of a product, its normalisation included.

    Args:
        product: The product, changed in place.
        factors: One for each instruction, of either sign.

    Raises:
        IrrepsError: If their number is wrong.

    Example:
        >>> double = TensorProduct("1o", "1o", "0e", [(0, 0, 0, "uuu", False)])
        >>> set_path_factors(double, [2 * 3**0.5])
        >>> double(torch.ones(3), torch.ones(3))
        tensor([6.])
    """
    if len(factors) != len(product.instructions):
        raise IrrepsError(f"{product} has {len(product.instructions)} paths; got {len(factors)} factors.")
    pairs = zip(product.instructions, factors, strict=True)
    product.instructions = [path._replace(path_weight=factor) for path, factor in pairs]
    product.plan = product_plan(product.irreps_in1, product.irreps_in2, product.irreps_out, product.instructions)
    product.to(product.tables.dtype)  # makes the tables anew


def _wrong_paths(product: TensorProduct) -> list[int]:
    """Return the numbers of the paths whose ``wigner_3j`` has another sign in e3nn 0.4.4."""
    ls = [[ir.l for _, ir in irreps] for irreps in (product.irreps_in1, product.irreps_in2, product.irreps_out)]
    signs = [wigner_sign(ls[0][path.i_in1], ls[1][path.i_in2], ls[2][path.i_out]) for path in product.instructions]
    return [number for number, sign in enumerate(signs) if sign < 0]


def _flip(product: TensorProduct, paths: list[int], own_weights: bool) -> None:
    in_weights = [i for i in paths if own_weights and product.instructions[i].has_weight]
    with torch.no_grad():
        for i in in_weights:
            product.weight_view_for_instruction(i).neg_()
    factors = [path.path_weight for path in product.instructions]
    for i in set(paths) - set(in_weights):
        factors[i] = -factors[i]
    set_path_factors(product, factors)
