import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from irrepnet.cli.yaml_edit import with_changes
from irrepnet.errors import ConfigError

TEXT = """\
# A page.

model:
  cutoff: 4.0        # Å
  # lmax: 1          # degree
  targets:           # several
    - name: a
      unit: eV

    - name: b

data:
  train: a.npz
  units:
    energy: eV
    # length: nm
  keys: {forces: F}  # names

# The end.
training:
  steps: 5
"""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
PATHS = st.sampled_from([
    ("model", "cutoff"), ("model", "lmax"), ("model", "targets"), ("model", "new"), ("data", "units", "energy"),
    ("data", "units", "length"), ("data", "units", "stress"), ("data", "units"), ("data", "keys", "energy"),
    ("data", "keys"), ("training", "loss", "energy"), ("training", "steps"), ("md", "steps"), ("md",),
])  # fmt: skip


@given(st.dictionaries(PATHS, VALUES, max_size=4))
def test_the_text_says_what_was_asked_for(changes):
    try:
        text, tree = with_changes(TEXT, changes)
    except ConfigError as error:
        assert re.search("is a value, not a section|needs text that can be printed", str(error))
        return
    assert yaml.safe_load(text) == tree
    for keys, value in changes.items():
        node = tree
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        is_overlaid = any(
            (other != keys and other[: len(keys)] == keys) or keys[: len(other)] == other != keys for other in changes
        )
        assert node == value or is_overlaid


@pytest.mark.parametrize(
    ("keys", "value", "line"),
    [
        (("model", "cutoff"), 5.5, "  cutoff: 5.5        # Å"),
        (("model", "cutoff"), 5.123456789012, "  cutoff: 5.123456789012 # Å"),
        (("model", "lmax"), 2, "  lmax: 2            # degree"),
        (("model", "targets"), [{"name": "c"}], "  targets: [{name: c}] # several"),
        (("data", "units", "length"), "bohr", "    length: bohr"),
        (("data", "units", "stress"), "GPa", "    stress: GPa"),
        (("data", "keys", "energy"), "E", "  keys: {forces: F, energy: E} # names"),
        (("training", "loss", "energy"), 3, "  loss: {energy: 3}"),
    ],
)
def test_a_value_changes_in_its_place(keys, value, line):
    text = with_changes(TEXT, {keys: value})[0]
    assert line in text.splitlines()
    assert "# The end." in text
    if keys != ("model", "targets"):
        assert sum(one not in text.splitlines() for one in TEXT.splitlines()) <= 1


def test_nothing_is_written_for_a_key_that_is_not_there_and_shall_be_null():
    assert with_changes(TEXT, {("training", "minutes"): None})[0] == TEXT


def test_no_changes_change_nothing():
    assert with_changes(TEXT, {})[0] == TEXT


@pytest.mark.parametrize("text", ["a\nb", "\x85"])
def test_text_that_cannot_be_printed_is_refused(text):
    with pytest.raises(ConfigError, match=r"--set data\.train needs text that can be printed"):
        with_changes(TEXT, {("data", "train"): text})
