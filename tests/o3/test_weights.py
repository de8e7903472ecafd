from typing import NamedTuple

import pytest
import torch

from irrepnet.errors import ConfigError, IrrepsError, ShapeError
from irrepnet.o3.weights import WeightedMap, only_default, resolve_sharing


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
