"""Dead units, duplicates, clusters and selectivity, on activations whose answer is known."""

import numpy as np

from earwitness.atlas.grouping import group, selectivity

RNG = np.random.default_rng(0)


def test_dead_units_and_duplicates_are_said_and_alike_units_stand_together() -> None:
    low, high = RNG.standard_normal((2, 400)).astype(np.float32)
    noise = 0.3 * RNG.standard_normal((4, 400)).astype(np.float32)
    dead = np.full(400, 0.25, np.float32)
    units = np.stack([low + noise[0], high + noise[1], dead, low + noise[2], 3 * (low + noise[0]) - 1, high + noise[3]])
    found = group(units.T)
    assert found.dead.tolist() == [False, False, True, False, False, False]
    assert found.duplicate_of.tolist() == [-1, -1, -1, -1, 0, -1]
    lows, highs = found.cluster[[0, 3, 4]], found.cluster[[1, 5]]
    assert len(set(lows)) == len(set(highs)) == 1
    assert {lows[0], highs[0]} == {1, 2}
    assert found.cluster[2] == 0
    assert sorted(found.place.tolist()) == list(range(6))
    assert found.place[2] == 5
    assert np.ptp(found.place[[0, 3, 4]]) == 2  # nothing stands between them


def test_units_that_go_opposite_ways_are_not_alike() -> None:
    wave = RNG.standard_normal(300).astype(np.float32)
    found = group(np.stack([wave, -wave], axis=1))
    assert found.duplicate_of.tolist() == [-1, -1]
    assert found.cluster[0] != found.cluster[1]


def test_a_single_unit_and_none_that_lives() -> None:
    alone = group(RNG.standard_normal((20, 1)).astype(np.float32))
    assert (alone.cluster.tolist(), alone.place.tolist()) == ([1], [0])
    dead = group(np.ones((20, 3), np.float32))
    assert (dead.cluster.tolist(), dead.place.tolist()) == ([0, 0, 0], [0, 1, 2])


def test_selectivity_is_1_for_one_excerpt_and_0_for_all_alike() -> None:
    once = np.zeros(100, np.float32)
    once[7] = 2
    half = np.repeat([0, 1], 50).astype(np.float32)
    found = selectivity(np.stack([once, half, np.full(100, 3, np.float32), once - 5], axis=1))
    np.testing.assert_allclose(found, [1, 0.5 / 0.99, 0, 1], atol=1e-6)
