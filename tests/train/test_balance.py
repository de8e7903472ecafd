import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irrepnet.train.balance import balanced_shares

COSTS = st.lists(st.integers(0, 10_000), max_size=40)


def totals(costs, shares):
    return [sum(costs[place] for place in share) for share in shares]


@given(costs=COSTS, num_shares=st.integers(1, 9))
def test_shares_are_a_partition_in_rising_order(costs, num_shares):
    shares = balanced_shares(costs, num_shares)
    assert len(shares) == num_shares
    assert sorted(itertools.chain(*shares)) == list(range(len(costs)))
    assert all(list(share) == sorted(share) for share in shares)
    assert shares == balanced_shares(np.array(costs), num_shares)


@given(costs=COSTS, num_shares=st.integers(1, 9))
def test_the_largest_share_exceeds_the_mean_by_less_than_one_item(costs, num_shares):
    largest = max(totals(costs, balanced_shares(costs, num_shares)))
    bound = sum(costs) / num_shares + (1 - 1 / num_shares) * max(costs, default=0)
    assert largest <= bound * (1 + 1e-12)


@given(costs=st.lists(st.integers(0, 50), min_size=1, max_size=7), num_shares=st.integers(1, 3))
@settings(max_examples=50)
def test_the_largest_share_is_within_a_third_of_the_best_possible(costs, num_shares):
    best = min(
        max(
            sum(cost for cost, owner in zip(costs, owners, strict=True) if owner == share)
            for share in range(num_shares)
        )
        for owners in itertools.product(range(num_shares), repeat=len(costs))
    )
    assert 3 * num_shares * max(totals(costs, balanced_shares(costs, num_shares))) <= (4 * num_shares - 1) * best


@given(num_items=st.integers(0, 30), num_shares=st.integers(1, 9))
def test_items_without_cost_are_spread_too(num_items, num_shares):
    lengths = [len(share) for share in balanced_shares([0] * num_items, num_shares)]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("num_shares", "batch_size", "excess"), [(2, 16, 0.02), (4, 64, 0.02), (8, 64, 0.05)])
def test_batches_of_small_and_large_structures_are_within_percents_of_the_ideal(num_shares, batch_size, excess):
    """Structures of 10 to 500 atoms, log-uniform, with 10 to 60 neighbours per atom; cut by number they are far off."""
    rng = np.random.default_rng(0)
    balanced, by_number = [], []
    for _ in range(200):
        num_atoms = np.exp(rng.uniform(np.log(10), np.log(500), batch_size)).astype(int)
        costs = num_atoms * rng.integers(10, 60, batch_size)
        ideal = max(costs.sum() / num_shares, costs.max())
        balanced.append(max(totals(costs, balanced_shares(costs, num_shares))) / ideal - 1)
        by_number.append(max(part.sum() for part in np.array_split(costs, num_shares)) / ideal - 1)
    assert np.mean(balanced) < excess < 0.2 < np.mean(by_number)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="needs num_shares >= 1; got 0"):
        balanced_shares([1.0], 0)
    with pytest.raises(ValueError, match="needs costs >= 0; got -2"):
        balanced_shares([1.0, -2.0], 2)
