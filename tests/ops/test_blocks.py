import torch
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.ops.blocks import Block, cut, join, together


@st.composite
def layouts(draw):
    """Blocks apart from each other, with gaps, and the number of columns."""
    blocks, end = [], 0
    for gap, mul, dim in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from([1, 3])), max_size=4)
    ):
        blocks.append(Block(end + gap, mul, dim))
        end = blocks[-1].end
    return blocks, end + draw(st.integers(0, 2))


@given(layouts(), st.integers(0, 3))
def test_join_undoes_cut_and_fills_gaps_with_zero(layout, rows):
    blocks, columns = layout
    features = torch.randn(rows, columns)
    pieces = cut(features, reversed(blocks))
    for block, piece in pieces.items():
        expected = features[:, block.offset : block.end].reshape(rows, block.mul, block.dim).transpose(1, 2)
        assert torch.equal(piece, expected) and piece.shape == (rows, block.dim, block.mul)
    kept = torch.zeros(columns)
    for block in blocks:
        kept[block.offset : block.end] = 1
    assert torch.equal(join(pieces, columns, like=features[:, :0]), features * kept)


def test_together_stacks_components():
    a, b = Block(0, 2, 1), Block(2, 2, 3)
    pieces = cut(torch.arange(8.0)[None], [a, b])
    assert torch.equal(together(pieces, [b, a]), torch.cat([pieces[b], pieces[a]], dim=1))
    assert together(pieces, [a]) is pieces[a]


def test_dtype_of_nothing():
    assert join({}, 3, like=torch.empty(2, 0, dtype=torch.float64)).dtype == torch.float64
    assert join({}, 0, like=torch.empty(2, 0)).shape == (2, 0)
