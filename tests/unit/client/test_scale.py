"""Positions of marks on the page's scales."""

import pytest

from earwitness.client.output.scale import Scale


@pytest.mark.parametrize("values", [[1.0, 9.0], [-3.5, -3.4], [5.0], [0.0, 0.0], [1e-9, 1e9]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_every_value_lies_inside(values: list[float], logarithmic: bool) -> None:
    scale = Scale(values, logarithmic=logarithmic)
    percents = [scale.percent(value) for value in values]
    assert percents == sorted(percents)
    assert all(0 < percent < 100 for percent in percents)
    ticks = scale.ticks()
    assert all(0 <= tick.percent <= 100 for tick in ticks)
    assert len(ticks) <= 12


def test_ends_have_a_margin_and_the_middle_is_the_middle() -> None:
    scale = Scale([10.0, 20.0])
    assert scale.percent(15.0) == pytest.approx(50)
    assert scale.percent(10.0) == pytest.approx(6)
    assert scale.span(10.0, 20.0).width_percent == pytest.approx(88)


def test_logarithmic_ticks_are_decades() -> None:
    scale = Scale([0.05, 40.0], logarithmic=True)
    assert [tick.label for tick in scale.ticks()] == ["0.1", "1", "10"]
    assert scale.percent(1.0) - scale.percent(0.1) == pytest.approx(scale.percent(10.0) - scale.percent(1.0))


def test_less_than_a_decade_still_has_ticks() -> None:
    assert [tick.label for tick in Scale([2.0, 6.0], logarithmic=True).ticks()] == ["2", "5"]


def test_zero_lies_at_the_low_end_of_a_logarithmic_scale() -> None:
    scale = Scale([0.0, 0.5, 40.0], logarithmic=True)
    assert scale.percent(0.0) == scale.percent(0.5)
