import numpy as np
import pytest

from irrepnet.data import Frame, take_frames
from irrepnet.data.subset import FrameSubset, texts_of
from irrepnet.errors import DataError

FRAMES = [Frame(species=[1], pos=[[0, 0, i]], source=f"f{i}", id=f"i{i}", group=f"g{i % 2}") for i in range(6)]


class Lazy:
    """A set that says of itself what it holds."""

    content_digest = "abc"

    def __len__(self):
        return len(FRAMES)

    def __getitem__(self, index):
        return FRAMES[index]


def sources(frames):
    return [frame.source for frame in frames]


def test_a_list_stays_a_list_and_a_lazy_set_lazy():
    assert sources(take_frames(FRAMES, [5, 0])) == ["f5", "f0"]
    assert isinstance(take_frames(FRAMES, [5]), list)
    part = take_frames(Lazy(), np.array([5, 0, 3]))
    assert isinstance(part, FrameSubset)
    assert sources(part) == ["f5", "f0", "f3"] == [part[i].source for i in range(3)]


def test_a_part_of_a_part_is_one_step_from_the_set():
    part = FrameSubset(Lazy(), [5, 4, 3, 2])
    nested = take_frames(part[1:], [2, 0])
    assert sources(nested) == ["f2", "f4"]
    assert isinstance(nested.base, Lazy)
    assert part[-1].source == "f2"
    with pytest.raises(IndexError):
        part[4]
    assert sources(part[::-2]) == ["f2", "f4"]
    assert len(part[:0]) == 0 and sources(take_frames(part, [])) == []


def test_ids_and_groups():
    assert texts_of(FRAMES, "group") == ["g0", "g1"] * 3
    assert texts_of(FrameSubset(Lazy(), [3, 0]), "id") == ["i3", "i0"]


def test_the_digest_is_that_of_set_and_order():
    digests = {FrameSubset(Lazy(), places).content_digest for places in ([0, 1], [1, 0], [0], [])}
    assert len(digests) == 4
    assert FrameSubset(Lazy(), [0, 1]).content_digest in digests
    assert not hasattr(FrameSubset(FRAMES, [0]), "content_digest")


@pytest.mark.parametrize(
    ("indices", "match"),
    [([6], "from 0 to 5; found 6"), ([-1], "found -1"), ([0.5], "integers .*float64"), ([[0]], r"int64 \[1, 1\]")],
)
def test_indices_that_are_none(indices, match):
    with pytest.raises(DataError, match=match):
        take_frames(FRAMES, indices)
