from typing import NamedTuple

import pytest
import torch

from irrepnet.errors import ConfigError, DtypeError, IrrepsError, ShapeError
from irrepnet.o3.weights import WeightedMap, broadcast_axes, only_default, resolve_sharing


class Path(NamedTuple):
    path_shape: tuple[int, ...]


PATHS = [Path((2, 3)), Path((7,)), Path((4,))]


def weighted(**options):
    settings = {"internal_weights": None, "shared_weights": None, **options}
    return WeightedMap(PATHS, [True, False, True], **settings)


def test_views_share_memory_and_skip_paths_without_weights():
    module = weighted()
    assert module.weight_numel == 10 and module.weight.shape == (10,)
    with torch.no_grad():
        for view in module.weight_views():
            view.fill_(1.0)
    assert module.weight.eq(1).all()
    assert module.weight_view_for_instruction(-1).data_ptr() == module.weight[6:].data_ptr()
    assert [i for i, _, _ in module.weight_views(yield_instruction=True)] == [0, 2]


def test_views_of_given_weights():
    module = weighted(shared_weights=False)
    assert module.weight is None and not list(module.parameters())
    weight = torch.randn(5, 10)
    assert torch.equal(module.weight_view_for_instruction(0, weight), weight[:, :6].reshape(5, 2, 3))
    with pytest.raises(RuntimeError, match="needs 10 weights in the call; got none"):
        next(module.weight_views())
    with pytest.raises(ShapeError, match=r"shared_weights=False needs weight \[..., 10\]; got \[5, 9\]"):
        module.weight_view_for_instruction(0, weight[:, 1:])


def test_lists_of_another_length():
    with pytest.raises(ShapeError, match=r"needs a list of 2 weights, one for each instruction that has some; got 1\."):
        next(weighted().weight_views([torch.randn(2, 3)]))


def joined(*weights, **options):
    return torch.cat(
        [
            view.flatten(-len(path.path_shape))
            for view, path in zip(weighted(**options).weight_views(list(weights)), [PATHS[0], PATHS[2]], strict=True)
        ],
        dim=-1,
    )


def test_lists_whose_leading_axes_broadcast():
    one, rows = torch.randn(1, 2, 3), torch.randn(5, 4)
    assert torch.equal(joined(one, rows, shared_weights=False), torch.cat([one.reshape(1, 6).expand(5, 6), rows], 1))
    with pytest.raises(ShapeError, match=r"leading axes broadcast; got \[3\] of weight 0 and \[5\] of weight 1"):
        joined(one.expand(3, 2, 3), rows, shared_weights=False)


def test_lists_of_what_does_not_go_together():
    with pytest.raises(DtypeError, match="WeightedMap needs weights as tensors; got float for instruction 2"):
        joined(torch.randn(2, 3), 1.0)
    with pytest.raises(DtypeError, match="weights of one dtype on one device; got float32 on cpu, float64 on cpu"):
        joined(torch.randn(2, 3), torch.randn(4).double())
    with pytest.raises(DtypeError, match="weights of one dtype on one device; got float32 on meta, float32 on cpu"):
        joined(torch.randn(2, 3, device="meta"), torch.randn(4))


def test_axes_that_broadcast():
    sizes = [torch.Size(axes) for axes in ((), (3,), (4, 1))]
    assert broadcast_axes("sum", {"a": sizes[0], "b": sizes[1], "c": sizes[2]}) == (4, 3)
    assert broadcast_axes("sum", {"a": sizes[2], "b": sizes[2]}) == (4, 1)
    with pytest.raises(
        ShapeError, match=r"sum needs operands whose leading axes broadcast; got \[3\] of a and \[2\] of b"
    ):
        broadcast_axes("sum", {"a": sizes[1], "b": torch.Size([2])})


def test_prefix_axes():
    module = weighted(weight_prefix=(8, 9))
    assert module.weight.shape == (8, 9, 10) and module.weight_view_for_instruction(0).shape == (8, 9, 2, 3)


def test_wrong_instruction_numbers():
    with pytest.raises(IndexError, match="WeightedMap has 3 instructions; got number 3"):
        weighted().weight_view_for_instruction(3)
    with pytest.raises(IrrepsError, match="instruction 1 of WeightedMap has no weights"):
        weighted().weight_view_for_instruction(1)


@pytest.mark.parametrize(
    ("internal", "shared", "has_weights", "expected"),
    [
        (None, None, True, (True, True)),
        (None, None, False, (False, True)),
        (None, False, True, (False, False)),
        (False, None, True, (False, True)),
        (True, True, True, (True, True)),
    ],
)
def test_sharing_defaults_are_those_of_e3nn(internal, shared, has_weights, expected):
    assert resolve_sharing(internal, shared, has_weights) == expected


def test_own_weights_are_shared():
    with pytest.raises(ValueError, match="internal_weights=True needs shared_weights=True; got False"):
        resolve_sharing(True, False, True)


def test_only_defaults():
    with pytest.raises(ConfigError, match=r"b has no meaning in irrepnet; got 2. Leave it at None"):
        only_default(a=(1, 1), b=(2, None))
