"""Counters between two moments, and percentiles from buckets, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from earwitness.bench.errors import BenchError
from earwitness.bench.window import Series, Window, percentile

INF = float("inf")
A = {"job": "a", "instance": "one"}
B = {"job": "b", "instance": "two"}


def series(name: str, labels: dict[str, str], **samples: float) -> Series:
    """Samples by time: t10=3 is 3 at 10 s."""
    return Series(name, labels, {float(at[1:]): value for at, value in samples.items()})


def up(labels: dict[str, str], *times: int) -> Series:
    return Series("up", labels, {float(at): 1.0 for at in times})


def test_growth_is_from_the_first_scrape_to_the_last_and_divided_by_their_distance() -> None:
    window = Window([up(A, 10, 11, 14), series("calls", A, t10=100, t11=103, t14=140)])
    assert window.increase("calls") == 40
    assert window.rate("calls") == 10
    assert window.seconds == 4


def test_each_target_has_its_own_scrapes() -> None:
    window = Window(
        [
            *(up(A, 10, 14), series("calls", A, t10=0, t14=8)),
            *(up(B, 11, 13), series("calls", B, t11=0, t13=8)),
        ]
    )
    assert window.increase("calls") == 16
    assert window.rate("calls") == 2 + 4
    assert window.rate("calls", of={("b", "two")}) == 4
    assert window.instances("calls") == {("a", "one"), ("b", "two")}


def test_a_series_that_appears_in_between_began_at_zero() -> None:
    """Prometheus' own increase() would give 0 for the first refusals."""
    window = Window([up(A, 10, 11, 12), series("calls", {**A, "code": "REFUSED"}, t12=57)])
    assert window.increase("calls", code="REFUSED") == 57
    assert window.increases("calls", "code") == {"REFUSED": 57}
    assert window.rates("calls", "code") == {"REFUSED": 28.5}


def test_scrapes_that_failed_do_not_count() -> None:
    failed = Series("up", A, {10.0: 0.0, 11.0: 1.0, 12.0: 0.0, 13.0: 1.0, 14.0: 0.0})
    assert Window([failed, series("calls", A, t11=1, t13=5)]).rate("calls") == 2


def test_labels_choose_series() -> None:
    window = Window([up(A, 0, 1), *(series("n", {**A, "kind": each}, t0=0, t1=ord(each)) for each in "xy")])
    assert window.increase("n", kind="x") == ord("x")
    assert window.increase("n", kind="z") == 0
    assert (window.has("n", kind="y"), window.has("n", kind="z")) == (True, False)


def test_gauges_are_averaged_over_the_scrapes_and_summed_over_targets() -> None:
    window = Window([up(A, 0, 2), up(B, 0, 2), series("depth", A, t0=1, t1=3, t2=5), series("depth", B, t0=10, t2=10)])
    assert window.mean("depth") == 13
    assert window.mean("nothing") is None


def test_too_few_scrapes_and_restarts_are_no_figures() -> None:
    once = Window([up(A, 10), series("calls", A, t10=4)])
    with pytest.raises(BenchError, match="a one less than twice"):
        once.increase("calls")
    with pytest.raises(BenchError, match="scraped a less than twice"):
        Window([up(A, 10)], {"a": 1})
    with pytest.raises(BenchError, match="scraped a less than twice"):
        Window([up(A, 10, 11)], {"a": 2})
    with pytest.raises(BenchError, match="was restarted"):
        Window([up(A, 10, 11), series("calls", A, t10=5, t11=2)]).increase("calls")


def test_interval_is_that_of_the_target_that_is_scraped_least() -> None:
    window = Window([up(A, 0, 30), up(B, 0, 30), series("n", A, t0=0, t15=0, t30=0), series("n", B, t0=0, t30=0)])
    assert window.interval_s("n") == 30


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.5, 1.5), (0.8, 2.0), (0.9, 3.0), (1.0, 4.0)],
)
def test_percentile_lies_evenly_in_its_bucket(share: float, expected: float) -> None:
    assert percentile([(1.0, 2.0), (2.0, 8.0), (4.0, 10.0), (INF, 10.0)], share) == pytest.approx(expected)


def test_percentile_without_observations_and_beyond_the_last_bound() -> None:
    assert percentile([], 0.5) is None
    assert percentile([(1.0, 0.0), (INF, 0.0)], 0.5) is None
    assert percentile([(1.0, 1.0), (2.0, 1.0), (INF, 10.0)], 0.99) == 2.0
    assert percentile([(INF, 3.0), (1.0, 3.0), (0.5, 0.0)], 0.5) == 0.75  # in any order, empty buckets passed over


def test_percentiles_of_the_load_s_buckets_are_right_to_their_width() -> None:
    from earwitness.bench.generator import BUCKETS_S, STEP

    times = np.random.default_rng(0).lognormal(-2, 1, 5000)
    window = Window(
        [
            up(A, 0, 1),
            *(
                series("s_bucket", {**A, "le": str(bound)}, t0=0, t1=float((times <= bound).sum()))
                for bound in (*BUCKETS_S, INF)
            ),
        ]
    )
    for share in (0.5, 0.95, 0.99):
        found = window.percentile("s", share)
        assert found is not None
        assert abs(math.log(found / np.quantile(times, share))) < math.log(STEP)
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (pytest.approx(0.0002), pytest.approx(113, rel=0.01))
