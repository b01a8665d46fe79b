"""What criteria choose among settings made up to differ in one thing at a time, and what a choice is worth."""

from dataclasses import replace

import numpy as np
import pytest

from earwitness.client.criteria import criterion_of, default_criterion
from earwitness.errors import InvalidArgument
from earwitness.evidence.criteria.choose import Landscape, Sense, candidates
from earwitness.evidence.criteria.gather import RealAudio
from earwitness.evidence.criteria.measure import splits_of
from earwitness.inference.metadata import Layer

LAYERS = (
    Layer("conv1", "conv", 3, 0),
    Layer("conv2", "conv", 3, 3),
    Layer("fc3", "dense", 2, 6),
    Layer("fc4", "output", 1, 8),
)
COLUMNS = {each.name: slice(each.first_unit, each.first_unit + each.unit_count) for each in LAYERS}
UNIT = 8


def rows(count: int, seed: int = 0, **off: float) -> np.ndarray:
    """[count, units]: standard normal, each layer moved as far as is said."""
    found = np.random.default_rng(seed).standard_normal((count, UNIT + 1)).astype(np.float32)
    for name, far in off.items():
        found[:, COLUMNS[name]] += far
    return found


def sense(*batches: np.ndarray, upwards: bool = True) -> Sense:
    return Sense(np.stack(batches), rows(200, seed=9), UNIT, upwards, COLUMNS)


@pytest.mark.parametrize("kind", ["layer", "nearness"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc3"])
def test_a_layer_chooses_what_is_least_off_there(kind: str, layer: str) -> None:
    """Whatever the other layers say."""
    others = {name: 0.0 for name in COLUMNS if name not in (layer, "fc4")}
    far = rows(40, seed=1, **{**others, layer: 3.0})
    near = rows(40, seed=2, **{**dict.fromkeys(others, 5.0), layer: 0.5})
    assert sense(far, near).chosen(criterion_of(f"{kind}:{layer}")) == 1
    assert sense(near, far).chosen(criterion_of(f"{kind}:{layer}")) == 0


def test_several_layers_add_up_places_not_distances() -> None:
    """The first is a little off in two layers, the second far off in one."""
    little, far, worst = rows(60, seed=1, conv1=1, conv2=1), rows(60, seed=1, fc3=50), rows(60, 1, conv1=2, conv2=2)
    found = sense(little, far, worst)
    assert found.values(criterion_of("layers:conv1,conv2,fc3")).tolist() == [2 + 2 + 1.5, 1 + 1 + 3, 3 + 3 + 1.5]


def test_the_unit_sees_itself_alone() -> None:
    off_elsewhere, off_in_unit = rows(50, seed=1, conv1=9, fc3=9), rows(50, seed=2, fc4=1)
    assert sense(off_in_unit, off_elsewhere).chosen(criterion_of("unit")) == 1


def test_the_range_is_a_limit_unless_it_is_allowed_to_leave() -> None:
    """The nearest in a layer activates the unit beyond all real rows."""
    beyond, within = rows(30, seed=1, fc4=50), rows(30, seed=2, conv1=1)
    limit, free = criterion_of("layer:conv1"), replace(criterion_of("layer:conv1"), outside_range_allowed=True)
    found = sense(beyond, within)
    assert found.leaves_range().tolist() == [True, False]
    assert (found.chosen(limit), found.chosen(free)) == (1, 0)
    downwards = replace(found, upwards=False)
    assert not downwards.leaves_range().any()
    assert replace(found, batches=-found.batches, upwards=False).leaves_range().tolist() == [True, False]


def test_where_all_leave_the_range_the_best_of_them_is_chosen() -> None:
    found = sense(rows(30, seed=1, fc4=50, conv1=2), rows(30, seed=2, fc4=60))
    assert found.chosen(criterion_of("layer:conv1")) == 1


def test_regret_is_0_on_the_front_and_counts_what_is_missed_elsewhere() -> None:
    """Of three pairs two are on the front: one told apart better, one nearer; usual is 0.3 - 0.1 = 0.2."""
    landscape = Landscape(np.array([[1.0, 0.6, 0.6]]), np.array([[0.3, 0.1, 0.5]]))
    assert landscape.front().tolist() == [[True, True, False]]
    assert (landscape.regret(0, 0), landscape.regret(0, 1)) == (0, 0)
    assert landscape.regret(0, 2) == pytest.approx(np.hypot(0.4 / 0.5, 0.2 / 0.2))
    assert Landscape(None, landscape.kernel).regret(0, 0) == pytest.approx(0.2 / 0.2)


def test_candidates_are_the_unit_each_hidden_layer_and_some_together() -> None:
    names = list(candidates(LAYERS))
    assert names == [
        "unit", "layer:conv1", "layer:conv2", "layer:fc3", "layers:conv1,conv2", "layers:conv1,conv2,fc3",
        "nearness:conv1", "nearness:conv2", "nearness:fc3", "nearness:conv1,conv2", "nearness:conv1,conv2,fc3",
    ]  # fmt: skip
    assert default_criterion(LAYERS) in candidates(LAYERS).values()
    assert list(candidates(LAYERS[-1:])) == ["unit"]


def test_splits_hold_out_two_fifths_in_turn() -> None:
    assert splits_of(5, 3) == [(0, 1), (2, 3), (0, 4)]
    assert splits_of(2, 2) == [(0,), (1,)]
    assert splits_of(1, 0) == []
    with pytest.raises(InvalidArgument, match="got 3 with 1 recordings; at least 2 are needed, or give 0 splits"):
        splits_of(1, 3)


def test_real_excerpts_are_the_most_extreme_of_some_recordings_apart_where_asked() -> None:
    """Excerpts of four frames, one every two: neighbours overlap."""
    activations = np.array([[1.0], [5.0], [4.0], [3.0], [9.0]], np.float32)
    real = RealAudio(
        recordings=(),
        of=np.array([0, 0, 0, 0, 1]),
        first_frames=np.array([0, 2, 4, 6, 0]),
        activations=activations,
        spectrograms=np.zeros((5, 1, 4), np.float32),
    )
    assert real.most(0, 2, upwards=True, among=[0]).tolist() == [1, 2]
    assert real.most(0, 3, upwards=True, among=[0, 1], apart=True).tolist() == [4, 1, 3]
    assert real.most(0, 2, upwards=False, among=[0], apart=True).tolist() == [0, 3]
