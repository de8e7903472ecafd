import math

import pytest

from irrepnet.train.schedule import learning_rate


def rate(progress, **changes):
    return learning_rate(progress, **{"peak": 0.02, "warmup": 0.1, "floor": 0.05, **changes})


def test_rises_to_the_peak_and_falls_to_the_floor():
    assert rate(0.0) == pytest.approx(0.001)
    assert rate(0.05) == pytest.approx((0.001 + 0.02) / 2)
    assert rate(0.1) == pytest.approx(0.02)
    assert rate(1.0) == pytest.approx(0.001)


def test_the_cosine_part_is_the_formula():
    for progress in (0.1, 0.3, 0.7, 0.99):
        angle = math.pi * (progress - 0.1) / 0.9
        assert rate(progress) == pytest.approx(0.02 * (0.05 + 0.95 * (1 + math.cos(angle)) / 2))


def test_falls_monotonically_and_without_a_jump_at_the_end_of_the_warmup():
    values = [rate(0.1 + 0.9 * i / 100) for i in range(101)]
    assert values == sorted(values, reverse=True)
    assert rate(0.1 - 1e-9) == pytest.approx(rate(0.1), rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "half"),
    [("linear", 0.02 * 0.525), ("exponential", 0.02 * 0.05**0.5), ("constant", 0.02), ("cosine", 0.02 * 0.525)],
)
def test_every_schedule_warms_up_and_is_its_formula_half_way(schedule, half):
    assert rate(0.05, schedule=schedule) == pytest.approx((0.001 + 0.02) / 2)
    assert rate(0.1, schedule=schedule) == pytest.approx(0.02)
    assert rate(0.55, schedule=schedule) == pytest.approx(half)
    assert rate(1.0, schedule=schedule) == pytest.approx(0.02 if schedule == "constant" else 0.001)


def test_no_warmup_starts_at_the_peak_and_overspent_budgets_stay_at_the_floor():
    assert rate(0.0, warmup=0.0) == pytest.approx(0.02)
    assert rate(1.7) == pytest.approx(rate(1.0))
