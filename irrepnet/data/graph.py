"""The graph that models see: atoms, edges between neighbours, and which structure of a batch they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from irrepnet.errors import DataError, DtypeError, ShapeError

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False)
class Graph:
    """Atoms and edges of one structure or of a batch of structures.

    ``src, dst = edge_index`` and ``edge_vec = pos[dst] - pos[src] + edge_shift @ cell[batch[src]]``. The constructor
    trusts its arguments; :meth:`checked` looks at them, once.

    Args:
        pos: Positions, shape ``[N, 3]``, Å.
        species: Atomic numbers, shape ``[N]``, int64.
        edge_index: Rows src, dst, shape ``[2, E]``, int64.
        edge_shift: Lattice vectors to add to ``pos[dst] - pos[src]``, shape ``[E, 3]``, int64.
        cell: Lattice vectors as rows, shape ``[B, 3, 3]``, Å; None if no structure has a cell.
        pbc: Which lattice vectors are periods, shape ``[B, 3]``, bool.
        batch: Structure of each atom, ascending, shape ``[N]``, int64.
        num_graphs: Number of structures, B.

    Example:
        >>> graph = Graph.checked(torch.eye(3)[:2], torch.tensor([8, 1]), torch.tensor([[0, 1], [1, 0]]))
        >>> graph.num_nodes, graph.num_edges, graph.num_graphs
        (2, 2, 1)
    """

    pos: Tensor
    species: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    cell: Tensor | None
    pbc: Tensor
    batch: Tensor
    num_graphs: int

    @property
    def num_nodes(self) -> int:
        """Number of atoms, N."""
        return self.pos.shape[0]

    @property
    def num_edges(self) -> int:
        """Number of edges, E."""
        return self.edge_index.shape[1]

    @classmethod
    def checked(
        cls,
        pos: Tensor,
        species: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        batch: Tensor | None = None,
        num_graphs: int | None = None,
    ) -> Graph:
        """Return a graph whose shapes, dtypes and values have been checked.

        Args:
            pos: As in the class.
            species: As in the class.
            edge_index: As in the class.
            edge_shift: None for zeros.
            cell: Also ``[3, 3]``, for every structure the same.
            pbc: Also ``[3]``; None for all periodic where there is a cell.
            batch: None for a single structure.
            num_graphs: None to count from ``batch``; needed where the last structures have no atoms.

        Raises:
            ShapeError: If a shape does not fit.
            DtypeError: If indices are not int64, positions not floating or ``pbc`` not bool.
            DataError: If a value is not finite or out of range, a cell is singular or missing, an edge joins two
                structures or has length zero.

        Example:
            >>> Graph.checked(torch.zeros(2, 3), torch.tensor([8, 1]), torch.tensor([[0], [2]]))
            Traceback (most recent call last):
            irrepnet.errors.DataError: edge_index needs atoms 0 to 1; found 2
        """
        if num_graphs is None:
            num_graphs = 1 if batch is None else int(batch.max()) + 1 if batch.numel() else 0
        if batch is None:
            batch = species.new_zeros(pos.shape[0], dtype=torch.long)
        if edge_shift is None:
            edge_shift = edge_index.new_zeros(edge_index.shape[-1], 3)
        if cell is not None and cell.dim() == 2:
            cell = cell.repeat(num_graphs, 1, 1)
        if pbc is None:
            pbc = torch.full((num_graphs, 3), cell is not None, device=pos.device)
        elif pbc.dim() == 1:
            pbc = pbc.repeat(num_graphs, 1)
        graph = cls(pos, species, edge_index, edge_shift, cell, pbc, batch, num_graphs)
        _check_form(graph)
        _check_atoms(graph)
        _check_cells(graph)
        _check_edges(graph)
        return graph

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Graph:
        """Return the graph on another device, its positions and cells in another floating dtype.

        Example:
            >>> graph = Graph.checked(torch.zeros(1, 3), torch.tensor([1]), torch.zeros(2, 0).long())
            >>> graph.to(dtype=torch.float64).pos.dtype
            torch.float64
        """
        return replace(
            self,
            pos=self.pos.to(device, dtype),
            cell=None if self.cell is None else self.cell.to(device, dtype),
            **{
                name: getattr(self, name).to(device) for name in ("species", "edge_index", "edge_shift", "pbc", "batch")
            },
        )

    @staticmethod
    def collate(graphs: Sequence[Graph]) -> Graph:
        """Join graphs into one batch; atoms, edges and structures keep their order.

        Raises:
            DataError: If there is nothing to join.
            DtypeError: If positions differ in dtype.

        Example:
            >>> one = Graph.checked(torch.eye(3)[:2], torch.tensor([8, 1]), torch.tensor([[0, 1], [1, 0]]))
            >>> Graph.collate([one, one]).edge_index
            tensor([[0, 1, 2, 3],
                    [1, 0, 3, 2]])
        """
        if not graphs:
            raise DataError("collate needs at least one graph; found none")
        dtypes = {graph.pos.dtype for graph in graphs}
        if len(dtypes) > 1:
            raise DtypeError(
                f"collate needs graphs of one dtype; found {sorted(map(str, dtypes))}; use Graph.to(dtype=...)"
            )
        first_node, first_graph, edges, batches = 0, 0, [], []
        for graph in graphs:
            edges.append(graph.edge_index + first_node)
            batches.append(graph.batch + first_graph)
            first_node += graph.num_nodes
            first_graph += graph.num_graphs
        cell = None
        if any(graph.cell is not None for graph in graphs):  # an open structure among periodic ones: a cell of zeros
            cell = torch.cat([g.pos.new_zeros(g.num_graphs, 3, 3) if g.cell is None else g.cell for g in graphs])
        return Graph(
            pos=torch.cat([graph.pos for graph in graphs]),
            species=torch.cat([graph.species for graph in graphs]),
            edge_index=torch.cat(edges, dim=1),
            edge_shift=torch.cat([graph.edge_shift for graph in graphs]),
            cell=cell,
            pbc=torch.cat([graph.pbc for graph in graphs]),
            batch=torch.cat(batches),
            num_graphs=first_graph,
        )

    @staticmethod
    def from_pyg(data: Any) -> Graph:
        """Take a PyTorch Geometric ``Data`` or ``Batch`` (anything with these attributes) and check it.

        Args:
            data: With ``pos``, ``z`` (or ``species``), ``edge_index``, and where there are periods ``cell``, ``pbc``
                and ``edge_shift``; ``batch`` and ``num_graphs`` of a batch.

        Raises:
            DataError: If an attribute is missing; and what :meth:`checked` raises.

        Example:
            >>> from types import SimpleNamespace
            >>> data = SimpleNamespace(pos=torch.zeros(1, 3), z=torch.tensor([8]), edge_index=torch.zeros(2, 0).long())
            >>> Graph.from_pyg(data).species
            tensor([8])
        """

        def get(name: str) -> Any:
            return getattr(data, name, None)

        species = get("z") if get("species") is None else get("species")
        for name, value in (("pos", get("pos")), ("z or species", species), ("edge_index", get("edge_index"))):
            if value is None:
                raise DataError(f"from_pyg needs {name}; found {type(data).__name__} without it")
        if get("cell") is not None and get("edge_shift") is None:
            raise DataError(
                "from_pyg needs edge_shift where there is a cell; found None; make edges with neighbor_list"
            )
        return Graph.checked(
            get("pos"), species, get("edge_index"), get("edge_shift"), get("cell"), get("pbc"), get("batch"),
            get("num_graphs") if get("batch") is not None else None,
        )  # fmt: skip


def _check_form(graph: Graph) -> None:
    """Shapes, dtypes and devices."""
    needs: dict[str, tuple[Any, ...]] = {
        "pos": ("N", 3),
        "species": (graph.pos.shape[0],),
        "edge_index": (2, "E"),
        "edge_shift": (graph.edge_index.shape[-1], 3),
        "cell": (graph.num_graphs, 3, 3),
        "pbc": (graph.num_graphs, 3),
        "batch": (graph.pos.shape[0],),
    }
    for name, shape in needs.items():
        value: Tensor | None = getattr(graph, name)
        if value is None:
            continue
        fits = value.dim() == len(shape) and all(w in ("N", "E", h) for w, h in zip(shape, value.shape, strict=True))
        if not fits:
            raise ShapeError(f"Graph needs {name} [{', '.join(map(str, shape))}]; found {list(value.shape)}")
        if name == "pos" and not value.is_floating_point():
            raise DtypeError(f"Graph needs pos of a floating dtype; found {value.dtype}")
        wanted = {"pos": value.dtype, "cell": graph.pos.dtype, "pbc": torch.bool}.get(name, torch.int64)
        if value.dtype != wanted:
            raise DtypeError(f"Graph needs {name} of dtype {wanted}; found {value.dtype}; use {name}.to({wanted})")
        if value.device != graph.pos.device:
            raise DataError(
                f"Graph needs all tensors on one device; found pos on {graph.pos.device}, {name} on {value.device}"
            )


def _check_atoms(graph: Graph) -> None:
    bad = (~graph.pos.isfinite()).any(dim=1).nonzero().flatten()
    if len(bad):
        raise DataError(f"pos needs finite numbers; found {graph.pos[bad[0]].tolist()} at atom {int(bad[0])}")
    if graph.num_nodes == 0:
        return
    low, high = int(graph.batch.min()), int(graph.batch.max())
    if low < 0 or high >= graph.num_graphs:
        raise DataError(f"batch needs numbers from 0 to {graph.num_graphs - 1}; found {low} to {high}")
    back = (graph.batch.diff() < 0).nonzero().flatten()
    if len(back):
        raise DataError(f"batch needs ascending numbers; found a lower one at atom {int(back[0]) + 1}; sort the atoms")


def _check_cells(graph: Graph) -> None:
    if graph.cell is None:
        if bool(graph.pbc.any()) or bool((graph.edge_shift != 0).any()):
            raise DataError("pbc and edge_shift need a cell; found cell=None; give cell, or pbc=False and no shifts")
        return
    for index, (cell, pbc) in enumerate(zip(graph.cell, graph.pbc, strict=True)):
        check_cell(cell, pbc, f"graph {index}")


def _check_edges(graph: Graph) -> None:
    if graph.num_edges == 0:
        return
    low, high = int(graph.edge_index.min()), int(graph.edge_index.max())
    if low < 0 or high >= graph.num_nodes:
        raise DataError(f"edge_index needs atoms 0 to {graph.num_nodes - 1}; found {low if low < 0 else high}")
    src, dst = graph.edge_index
    home = graph.batch[src]
    if not torch.equal(home, graph.batch[dst]):
        edge = int((home != graph.batch[dst]).nonzero()[0])
        raise DataError(
            f"edge_index needs edges inside one structure; found edge {edge} from graph {int(home[edge])} to another"
        )
    vec = (graph.pos[dst] - graph.pos[src]).double()
    if graph.cell is not None:
        vec = vec + torch.einsum("ei,eij->ej", graph.edge_shift.double(), graph.cell.double()[home])
    zero = (vec == 0).all(dim=1).nonzero().flatten()
    if len(zero):
        first, second = graph.edge_index[:, zero[0]].tolist()
        raise DataError(
            f"edges need a length above zero; found atoms {first} and {second} at one place (edge {int(zero[0])}); "
            "remove coincident atoms"
        )


def check_cell(cell: Tensor, pbc: Tensor, name: str) -> None:
    """Raise a DataError unless the periods of a cell are finite and span as many dimensions as there are."""
    periods = cell[pbc].detach().double()
    if not bool(periods.isfinite().all()):
        raise DataError(f"{name}: cell needs finite lattice vectors; found {cell.tolist()}")
    lengths = periods.norm(dim=1)
    # The volume of the parallelepiped of unit vectors: 1 for a cube, below 1e-6 for angles that no crystal has.
    flat = len(periods) and (
        float(lengths.min()) < 1e-6 or float(torch.linalg.det((unit := periods / lengths[:, None]) @ unit.T)) < 1e-12
    )
    if flat:
        raise DataError(
            f"{name}: cell needs lattice vectors that span space; found the singular cell {cell.tolist()} with pbc "
            f"{pbc.tolist()}"
        )
