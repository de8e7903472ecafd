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
    rule, few = "ziu,zvj,ijk,zuvw->zkw", {"z": 1000, "i": 3, "j": 3, "k": 3, "u": 2, "v": 1, "w": 2}
    (small, _), *_ = contraction_steps(rule, tuple(few.items()))
    (large, _), *_ = contraction_steps(rule, tuple({**few, "u": 64, "w": 64}.items()))
    assert set(large) == {1, 2} and small != large  # with many channels, y meets the table before x is touched
