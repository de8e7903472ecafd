import pytest
import torch

from irrepnet.ops.reference.contraction import contraction_steps


@pytest.mark.parametrize("rule", ["ziu,zvj,ijk,zuvw->zkw", "ziu,zuj,ijk,u->zku", "ziu,zvj,ijk->zkuv"])
def test_steps_carry_out_the_einsum(rule):
    size = {"z": 5, "i": 3, "j": 3, "k": 1, "u": 4, "v": 2, "w": 6}
    terms = rule.partition("->")[0].split(",")
    operands = [torch.randn(*(size[letter] for letter in term), dtype=torch.float64) for term in terms]
    expected = torch.einsum(rule, *operands)
    letters = tuple((letter, size[letter] if letter != "z" else 1000) for letter in size)
    steps = contraction_steps(rule, letters)
    assert len(steps) == len(terms) - 1
    for positions, subscripts in steps:
        operands.append(torch.einsum(subscripts, *(operands.pop(position) for position in positions)))
    torch.testing.assert_close(operands[0], expected, rtol=0, atol=1e-12)


def test_the_order_follows_from_the_sizes():
    for rows, first in ((1000, {1, 2}), (1, {0, 1})):
        steps = contraction_steps("za,ab,bc->zc", (("z", rows), ("a", 4), ("b", 8), ("c", 4)))
        assert set(steps[0][0]) == first
