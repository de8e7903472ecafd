import numpy as np
import pytest

from irrepnet.data import Frame
from irrepnet.data.subset import FrameSubset
from irrepnet.train import ItemSizes, LazyItems, label_graphs

RNG = np.random.default_rng(0)
FRAMES = [Frame(species=[1] * n, pos=RNG.uniform(0, 2, (n, 3))) for n in (3, 1, 5, 2)]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("cached", [False, True])
def test_sizes(lazy, cached, tmp_path, monkeypatch):
    items = label_graphs(FrameSubset(FRAMES, range(4)) if lazy else FRAMES, 1.5, cache=tmp_path if cached else None)
    expected = [item.graph.num_edges for item in items]
    if lazy and cached:
        monkeypatch.setattr(LazyItems, "_item", None)  # they are known without
    sizes = ItemSizes(items)
    assert sizes.num_atoms.tolist() == [3, 1, 5, 2]
    assert sizes.num_edges.tolist() == expected
    assert sizes.num_atoms.dtype == sizes.num_edges.dtype == np.int64


def test_no_items():
    sizes = ItemSizes([])
    assert len(sizes.num_atoms) == len(sizes.num_edges) == 0
