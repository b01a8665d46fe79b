"""How the time of a call with a deadline is shared out."""

import time

import pytest

from earwitness.explainer.pacing import (
    BYTE_S,
    FIRST_ROW_S,
    LATE_S,
    LATEST_S,
    MARGIN,
    MAX_RESERVED,
    SLOWEST_ROW_S,
    STALLS_S,
    Pacing,
)
from earwitness.rpc.context import RETURN_MARGIN_S


def kept_s(
    pacing: Pacing, rows: int, byte_count: int = 0, *, left_s: float = 1000.0, rendering_s: float = 0.0
) -> float:
    """What is kept of `left_s` seconds for what follows the search."""
    end_s = time.monotonic() + left_s
    budget, first = pacing.search_budgets(end_s, "m", rows, byte_count, rendering_s, whole=False, loading=False)
    assert end_s - first.end_s == pytest.approx(RETURN_MARGIN_S)
    return end_s - budget.end_s


def test_rows_and_bytes_take_their_time() -> None:
    pacing = Pacing()
    assert kept_s(pacing, 1) == pytest.approx(RETURN_MARGIN_S + MARGIN * FIRST_ROW_S)
    assert kept_s(pacing, 256) == pytest.approx(RETURN_MARGIN_S + 256 * MARGIN * FIRST_ROW_S)
    assert kept_s(pacing, 1, 10**8) - kept_s(pacing, 1) == pytest.approx(10**8 * BYTE_S, rel=1e-3)
    for left_s, stalls_s in ((1.0, STALLS_S), (100.0, 25.0)):
        quiet_s, loading_s = (pacing.handing_over_s(left_s, 1, 0, whole=False, loading=each) for each in (False, True))
        assert loading_s - quiet_s == pytest.approx(stalls_s)


def test_what_was_measured_is_expected_again() -> None:
    pacing = Pacing()
    for _ in range(500):
        pacing.handed_over(0.01, whole=False)
        pacing.handed_over(0.0001, whole=True)
    assert kept_s(pacing, 100) == pytest.approx(RETURN_MARGIN_S + 100 * MARGIN * 0.01, rel=0.01)
    assert pacing.handing_over_s(9.0, 100, 0, whole=True, loading=False) < RETURN_MARGIN_S + 100 * MARGIN * 0.0015
    for _ in range(500):
        pacing.handed_over(3600.0, whole=False)  # a caller that stopped to read
    assert kept_s(pacing, 100) <= RETURN_MARGIN_S + 100 * MARGIN * SLOWEST_ROW_S + 1e-3
    before_s = kept_s(pacing, 200)
    pacing.passed("m", 200, 0.5)
    assert kept_s(pacing, 200) - before_s == pytest.approx(0.5, abs=1e-3)
    assert kept_s(pacing, 100) < before_s, "of another order of magnitude nothing is known"
    for _ in range(50):
        pacing.passed("m", 200, 0.01)
    assert kept_s(pacing, 200) - before_s == pytest.approx(0.01, abs=1e-3)


def test_a_rendering_that_stopped_late_makes_the_next_ones_stop_earlier() -> None:
    pacing = Pacing()
    assert pacing.stopping_s() == MARGIN * LATE_S
    pacing.stopped(0.1)
    pacing.stopped(0.02)
    assert pacing.stopping_s() == MARGIN * 0.1
    assert kept_s(pacing, 1, rendering_s=7.0) - kept_s(pacing, 1) == pytest.approx(7.0 + MARGIN * 0.1, abs=1e-3)
    pacing.stopped(30.0)
    assert pacing.stopping_s() == MARGIN * LATEST_S, "as after a machine slept"
    for _ in range(100):
        pacing.handed_over(0.001, whole=False)
    assert pacing.stopping_s() == MARGIN * LATE_S, "or nothing would ever be rendered again"


def test_the_search_has_a_quarter_at_least() -> None:
    assert kept_s(Pacing(), 256, left_s=1.0) == pytest.approx(MAX_RESERVED, abs=0.01)
    assert kept_s(Pacing(), 256, left_s=1.0, rendering_s=1e9) == pytest.approx(0.75, abs=0.01)
    assert kept_s(Pacing(), 1, rendering_s=7.0) - kept_s(Pacing(), 1) == pytest.approx(7.0 + MARGIN * LATE_S, abs=1e-3)


def test_without_a_deadline_nothing_is_kept() -> None:
    budgets = Pacing().search_budgets(float("inf"), "m", 1, 0, 1.0, whole=True, loading=True)
    assert [each.left_s() for each in budgets] == [None, None]
