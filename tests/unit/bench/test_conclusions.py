"""The knee, the overload, and what is said of them."""

from dataclasses import replace

import pytest

from earwitness.bench.conclusions import conclude, knee_of
from tests.unit.bench.steps import kind, report, step


def test_knee_is_the_fewest_clients_as_good_as_the_best() -> None:
    speeds = {1: 5.0, 2: 9.4, 4: 9.6, 8: 9.8, 16: 10.0, 32: 9.7}
    knee = knee_of([step(clients, speed) for clients, speed in speeds.items()])
    assert knee is not None
    assert (knee.clients, knee.best_clients) == (4, 16)
    assert knee.words == "The knee is at 4 clients: 9.6 calls/s, within 5 % of the best, 10 with 16 clients."


def test_knee_at_the_end_of_the_range_is_the_best_itself() -> None:
    knee = knee_of([step(1, 1.0), step(2, 2.0)])
    assert knee is not None
    assert (knee.clients, knee.words) == (2, "The knee is at 2 clients: 2 calls/s, the most there were.")
    assert knee_of([step(1, 0.0)]) is None
    assert knee_of([]) is None


def test_knee_is_not_where_searches_are_refused_and_scores_take_their_place() -> None:
    knee = knee_of([step(1, 4.0), step(2, 5.2), step(16, 5.0), step(32, 5.8, refused_share=0.36)])
    assert knee is not None
    assert (knee.clients, knee.best_clients) == (2, 2)
    everywhere = knee_of([step(1, 4.0, refused_share=0.1), step(2, 8.0, refused_share=0.5)])
    assert everywhere is not None
    assert everywhere.clients == 2


def test_services_beside_triton_alone() -> None:
    found = conclude(report([step(1, 6.0), step(2, 9.0)], [step(1, 8.0, load="triton"), step(2, 10.0, load="triton")]))
    assert found.services_share == pytest.approx(0.9)
    assert "Triton alone 100: the services keep 90 % of it" in found.sentences[1]


def test_overload_is_the_rate_beyond_the_best_beside_the_unloaded_calls() -> None:
    unloaded = step(1, 5.0, kind("explain", 0.1), kind("score", 0.2))
    flooded = step(
        0,
        8.0,
        kind("explain", 0.8, OK=60, RESOURCE_EXHAUSTED=700),
        kind("score", 0.3, OK=40),
        planned_per_s=100.0,
        refused_share=0.9,
    )
    half = step(0, 5.0, planned_per_s=5.0)
    found = conclude(report([unloaded, step(8, 10.0)], opened=[half, flooded], shares=(0.5, 10.0))).overload
    assert found is not None
    assert (found.slowest_kind, found.slowdown, found.refused_share) == ("explain", pytest.approx(8.0), 0.9)
    assert found.refused_p99_s == 0.002
    assert "90 % were refused, half of those within 2 ms, 99 % within 2 ms" in found.words
    assert "8 times that with 1 client (explain)" in found.words
    assert conclude(report([unloaded], opened=[half], shares=(0.5,))).overload is None


def test_clients_that_fall_behind_errors_and_other_callers_are_said() -> None:
    closed = [step(1, 10.0, kind("explain", 0.1, OK=80, INTERNAL=3), calls_by_clients=80)]
    opened = [step(0, 10.0, planned_per_s=100.0, begun_per_s=40.0)]
    said = " ".join(conclude(report(closed, opened=opened, shares=(10.0,))).sentences)
    assert "3 calls failed" in said
    assert "In 1 of 2 steps the servers counted other calls" in said
    assert "began 40 calls/s where 100 were planned" in said
    quiet = " ".join(
        conclude(report([step(1, 10.0)], opened=[step(0, 9.0, planned_per_s=10.0)], shares=(1.0,))).sentences
    )
    assert "failed" not in quiet
    assert "other calls" not in quiet
    assert "planned" not in quiet


def test_few_calls_and_a_machine_that_has_else_to_do_are_said() -> None:
    busy = replace(step(1, 2.0), cpu_cores={"explainer": 0.1, "others": 1.5})
    said = " ".join(conclude(report([busy, step(2, 4.0)])).sentences)
    assert "With 1 client 16 of the calls succeeded in the measured time, too few" in said
    assert "Other programs used 0.78 of the 2 processors" in said
    quiet = " ".join(conclude(report([step(1, 3.0)])).sentences)
    assert "too few" not in quiet
    assert "Other programs" not in quiet


def test_what_is_busiest_is_the_saturation() -> None:
    assert step(1, 1.0).saturation == ("CPU", 0.95)
