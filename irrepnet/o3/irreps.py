"""Direct sums of irreps: how a feature tensor rotates, written as ``16x0e+8x1o``. Labels only, no tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from irrepnet.errors import ConfigError, IrrepsError, ShapeError
from irrepnet.o3.irrep import Irrep
from irrepnet.o3.mul_ir import MulIr, read_entries
from irrepnet.o3.representation import Representation

if TYPE_CHECKING:
    import torch

__all__ = ["Irreps", "SortedIrreps"]


class SortedIrreps(NamedTuple):
    """What ``Irreps.sort`` returns: entry ``i`` went to place ``p[i]``; place ``j`` holds entry ``inv[j]``."""

    irreps: Irreps
    p: tuple[int, ...]
    inv: tuple[int, ...]


class Irreps(Representation, tuple):
    r"""Direct sum of irreps of :math:`O(3)`, in the order in which the components lie in a feature tensor.

    Entries are laid one after another; inside an entry the multiplicity is the outer index and the component
    the inner one. It compares and hashes as the tuple of its ``(mul, (l, p))``: ``2x0e`` is not ``0e+0e``.

    Args:
        irreps: Text such as ``"16x0e + 8x1o"``, an ``Irrep``, an ``Irreps``, or a list whose items are ``(mul, irrep)``
            pairs, irreps or text of one irrep; nothing for the empty sum.

    Raises:
        IrrepsError: If a term cannot be read; the message names it.

    Example:
        >>> x = Irreps("16x0e + 8x1o")
        >>> x, x.dim, x.lmax, "1o" in x
        (16x0e+8x1o, 40, 1, True)
        >>> for mul, ir in x:
        ...     print(mul, ir, ir.l)
        16 0e 0
        8 1o 1
    """

    __slots__ = ()

    def __new__(cls, irreps: Any = None) -> Irreps:
        """See the class."""
        if isinstance(irreps, cls):
            return irreps
        return tuple.__new__(cls, read_entries(irreps))

    @staticmethod
    def spherical_harmonics(lmax: int, p: int = -1) -> Irreps:
        """Return the irreps of the spherical harmonics of all degrees up to ``lmax``.

        Args:
            lmax: Last degree, inclusive.
            p: Parity of the argument: -1 for a vector, 1 for a pseudovector.

        Example:
            >>> Irreps.spherical_harmonics(2), Irreps.spherical_harmonics(2, p=1)
            (1x0e+1x1o+1x2e, 1x0e+1x1e+1x2e)
        """
        return Irreps([(1, (l, p**l)) for l in range(lmax + 1)])

    @property
    def dim(self) -> int:
        """Total number of components."""
        return sum(mul * ir.dim for mul, ir in self)

    @property
    def num_irreps(self) -> int:
        """Number of irreps, the sum of the multiplicities."""
        return sum(mul for mul, _ in self)

    @property
    def ls(self) -> list[int]:
        """Degree of every irrep, each as often as its multiplicity says."""
        return [ir.l for mul, ir in self for _ in range(mul)]

    @property
    def lmax(self) -> int:
        """Greatest degree that is present (a multiplicity of zero does not count)."""
        degrees = [ir.l for mul, ir in self if mul > 0]
        if not degrees:
            raise IrrepsError(f"lmax needs irreps that are not empty; got '{self!r}'. Look at `irreps.dim > 0` first.")
        return max(degrees)

    def slices(self) -> list[slice]:
        """Return where each entry lies along the last axis of a feature tensor.

        Example:
            >>> Irreps("2x0e + 1o").slices()
            [slice(0, 2, None), slice(2, 5, None)]
        """
        out, start = [], 0
        for mul, ir in self:
            out.append(slice(start, start + mul * ir.dim))
            start += mul * ir.dim
        return out

    def count(self, ir: Any) -> int:
        """Return the total multiplicity of one irrep.

        Example:
            >>> Irreps("2x0e + 1o + 3x0e").count("0e")
            5
        """
        ir = Irrep(ir)
        return sum(mul for mul, other in self if other == ir)

    def remove_zero_multiplicities(self) -> Irreps:
        """Drop the entries of multiplicity zero.

        Example:
            >>> Irreps("0x0e + 1o").remove_zero_multiplicities()
            1x1o
        """
        return Irreps([entry for entry in self if entry[0] > 0])

    def simplify(self) -> Irreps:
        """Merge neighbours of one kind and drop empty entries; the layout of the components stays as it is.

        Example:
            >>> Irreps("0e + 0e + 1o + 0x2e + 1o + 0e").simplify()
            2x0e+2x1o+1x0e
        """
        out: list[tuple[int, Irrep]] = []
        for mul, ir in self.remove_zero_multiplicities():
            if out and out[-1][1] == ir:
                out[-1] = (out[-1][0] + mul, ir)
            else:
                out.append((mul, ir))
        return Irreps(out)

    def sort(self) -> SortedIrreps:
        """Sort the entries by irrep, ``0o < 0e < 1o < ...``; equal ones keep their order.

        Returns:
            The sorted irreps, ``p`` (entry ``i`` goes to place ``p[i]``) and its inverse ``inv``.

        Example:
            >>> Irreps("2e + 1o + 0e + 1o").sort()
            SortedIrreps(irreps=1x0e+1x1o+1x1o+1x2e, p=(3, 1, 0, 2), inv=(2, 1, 3, 0))
        """
        inv = tuple(i for _, _, i in sorted((ir.l, ir.p, i) for i, (_, ir) in enumerate(self)))
        p = tuple(place for _, place in sorted((i, place) for place, i in enumerate(inv)))
        return SortedIrreps(Irreps([self[i] for i in inv]), p, inv)

    def regroup(self) -> Irreps:
        """Sort, then simplify: each irrep appears once.

        Example:
            >>> Irreps("1o + 0e + 2x1o").regroup()
            1x0e+3x1o
        """
        return self.sort().irreps.simplify()

    def filter(self, keep: Any = None, *, drop: Any = None, lmax: int | None = None) -> Irreps:
        """Keep some of the entries. Give one of the three arguments.

        Args:
            keep: Irreps-like, list of irreps, or function of an entry (with ``.mul`` and ``.ir``) that says yes or no.
            drop: The same for what is to go.
            lmax: Keep degrees up to this one, inclusive.

        Raises:
            ConfigError: If more than one argument is given.

        Example:
            >>> Irreps("4x0e + 2x1o + 2e").filter(lmax=1)
            4x0e+2x1o
            >>> Irreps("4x0e + 2x1o + 2e").filter(drop=lambda entry: entry.mul > 2)
            2x1o+1x2e
        """
        given = [name for name, value in (("keep", keep), ("drop", drop), ("lmax", lmax)) if value is not None]
        if len(given) > 1:
            raise ConfigError(f"filter takes one of keep, drop and lmax; got {' and '.join(given)}. Call it for each.")
        if keep is not None:
            wanted = _predicate(keep)
        elif drop is not None:
            unwanted = _predicate(drop)
            return Irreps([entry for entry in self if not unwanted(entry)])
        elif lmax is not None:
            return Irreps([entry for entry in self if entry.ir.l <= lmax])
        else:
            return self
        return Irreps([entry for entry in self if wanted(entry)])

    @property
    def slice_by_mul(self) -> _MulSlicer:
        """Slice by single irreps instead of entries.

        Example:
            >>> Irreps("2x0e + 3x1o").slice_by_mul[1:4]
            1x0e+2x1o
        """
        return _MulSlicer(self)

    def randn(
        self,
        *size: int,
        normalization: str = "component",
        requires_grad: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """Draw random features.

        Args:
            *size: Shape of the result, with -1 in the place of ``dim``.
            normalization: ``"component"``: every component is N(0, 1); ``"norm"``: every irrep has length 1.
            requires_grad: Whether the result records gradients.
            dtype: Default: torch's default dtype.
            device: Default: torch's default device.

        Raises:
            ShapeError: If ``size`` does not hold exactly one -1.
            ConfigError: If ``normalization`` is unknown.

        Example:
            >>> Irreps("2x0e + 1o").randn(7, -1).shape
            torch.Size([7, 5])
        """
        import torch

        if size.count(-1) != 1:
            raise ShapeError(f"randn needs one -1 in its size, where dim = {self.dim} goes; got size {size}.")
        if normalization not in ("component", "norm"):
            raise ConfigError(f"randn needs normalization 'component' or 'norm'; got {normalization!r}.")
        axis = size.index(-1)
        before, after = size[:axis], size[axis + 1 :]
        # Drawn entry by entry for "norm", so that a seed gives the numbers that it gives in e3nn.
        shapes = [(self.dim,)] if normalization == "component" else [(mul, ir.dim) for mul, ir in self]
        parts = []
        for shape in shapes or [(0,)]:
            x = torch.randn(*before, *shape, *after, dtype=dtype, device=device)
            if len(shape) == 2:
                x = torch.nn.functional.normalize(x, dim=axis + 1).flatten(axis, axis + 1)
            parts.append(x)
        return torch.cat(parts, dim=axis).requires_grad_(requires_grad)

    def D_from_angles(
        self, alpha: torch.Tensor, beta: torch.Tensor, gamma: torch.Tensor, k: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See ``Representation.D_from_angles``; the matrices are block-diagonal."""
        from irrepnet.o3.wigner import block_diagonal

        return block_diagonal(self, alpha, beta, gamma, k)

    @overload  # type: ignore[override]
    def __getitem__(self, i: int) -> MulIr: ...
    @overload
    def __getitem__(self, i: slice) -> Irreps: ...
    def __getitem__(self, i: Any) -> Any:
        item = tuple.__getitem__(self, i)
        return Irreps(item) if isinstance(i, slice) else item

    def __contains__(self, ir: object) -> bool:
        ir = Irrep(ir)
        return any(other == ir for _, other in self)

    def __add__(self, other: Any) -> Irreps:
        return Irreps([*self, *Irreps(other)])  # torch.compile cannot follow tuple.__add__ of a subclass

    def __radd__(self, other: Any) -> Irreps:
        return Irreps(other) + self

    def __mul__(self, times: Any) -> Irreps:
        if isinstance(times, Irreps):
            raise NotImplementedError(f"({self}) * ({times}) would be a tensor product: use o3.FullTensorProduct.")
        return Irreps(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return "+".join([str(entry) for entry in self])

    __str__ = __repr__  # torch.compile does not find it otherwise


class _MulSlicer:
    """Indexing object of ``Irreps.slice_by_mul``."""

    def __init__(self, irreps: Irreps) -> None:
        self.irreps = irreps

    def __len__(self) -> int:
        return self.irreps.num_irreps

    def __getitem__(self, index: slice) -> Irreps:
        if not isinstance(index, slice):
            raise IndexError(f"slice_by_mul takes a slice; got {index!r}. Write slice_by_mul[i:i + 1] for one irrep.")
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise NotImplementedError(f"slice_by_mul takes slices of step 1; got step {step}.")
        out, first = [], 0
        for mul, ir in self.irreps:
            taken = min(stop, first + mul) - max(start, first)
            if taken > 0:
                out.append((taken, ir))
            first += mul
        return Irreps(out)


def _predicate(choice: Any) -> Callable[[MulIr], bool]:
    """Turn what ``filter`` accepts into a function of an entry."""
    if callable(choice):
        return choice
    kinds = {ir for _, ir in Irreps(choice)}
    return lambda entry: entry.ir in kinds
