import e3nn.math
import pytest
import torch

from irrepnet.errors import ConfigError
from irrepnet.math import germinate_formulas, reduce_permutation

FORMULAS = [
    "i", "ij", "ij=-ji", "ijk=jki", "ijkl=jikl=klij", "ijkl=-jikl=-ijlk=klij", "ijk=-jik", "ijk=jik=-ikj", "ij=-ij",
    "ijkl=-jilk", "ijkl=-jkli", "ijkl=jikl=-klij",
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_equals_e3nn(formula, size):
    germs = germinate_formulas(formula)
    assert germs == e3nn.math.germinate_formulas(formula)
    dims = dict.fromkeys(germs[0], size)
    Q, entries = reduce_permutation(*germs, dtype=torch.float64, **dims)
    theirs, their_entries = e3nn.math.reduce_permutation(*germs, dtype=torch.float64, **dims)
    torch.testing.assert_close(Q, theirs, rtol=0, atol=1e-15)
    assert entries == their_entries


def test_one_size_is_enough_for_indices_that_are_exchanged():
    Q, _ = reduce_permutation(*germinate_formulas("ijk=jik"), i=2, k=4)
    assert Q.shape == (12, 2, 2, 4) and Q.dtype == torch.get_default_dtype()
    assert torch.equal(Q, Q.transpose(1, 2))


def test_rows_are_orthonormal_and_complete():
    Q, _ = reduce_permutation(*germinate_formulas("ijk=-jik=-ikj"), i=4, dtype=torch.float64)
    torch.testing.assert_close(Q.flatten(1) @ Q.flatten(1).T, torch.eye(4, dtype=torch.float64))


def test_spaces_are_no_indices():
    # e3nn takes them for letters: its "ij = ji" has three indices.
    assert germinate_formulas("ij = -ji") == germinate_formulas("ij=-ji")


def test_a_sign_of_the_first_term_counts():
    assert germinate_formulas("-ij=ji") == germinate_formulas("ij=-ji")


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("ij=jk", r"formula 'ij=jk' needs permutations of 'ij'; got 'jk'\. Did you mean 'ji'"),
        ("ijk=jikk", "Did you mean 'jik'"),
        ("ij=--ji", r"got '-ji'\. Did you mean 'ij'"),  # e3nn reads two signs as one
        ("ij=", "needs permutations of 'ij'; got ''"),
        ("ii", "each index once, such as 'ij' in 'ij=ji'; got 'ii'"),
        ("", "each index once"),
    ],
)
def test_formula_errors(formula, message):
    with pytest.raises(ConfigError, match=message):
        germinate_formulas(formula)


def test_size_errors():
    germs = germinate_formulas("ijk=jik")
    with pytest.raises(ConfigError, match=r"index i of 'ijk' has no dimension. Give i=... or j=...."):
        reduce_permutation(*germs, k=2)
    with pytest.raises(ConfigError, match=r"dimension of i and j should be the same, .* got i=2 and j=3"):
        reduce_permutation(*germs, i=2, j=3, k=2)
