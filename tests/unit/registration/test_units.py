"""Which outputs of a foreign model become layers, and which units these have."""

import numpy as np
import onnxruntime
import pytest

from earwitness.errors import InvalidArgument
from earwitness.inference.metadata import UnitLabel
from earwitness.registration.adapters import taken, units_model
from earwitness.registration.axes import Port
from earwitness.registration.units import check_labels, choose_outputs, sources_of

LABEL = Port("label", "INT64", (1,))
SCORES = Port("dense_1/Softmax:0", "FP32", (2,))
MAPS = Port("maps", "FP64", (3, 4, 5))


def test_the_only_numbers_are_the_answer() -> None:
    assert choose_outputs([LABEL, SCORES], None) == (SCORES, [])


def test_several_are_asked_about_and_whole_numbers_are_no_answer() -> None:
    with pytest.raises(InvalidArgument, match="several outputs, dense_1/Softmax:0 FP32"):
        choose_outputs([SCORES, MAPS], None)
    with pytest.raises(InvalidArgument, match="no floating-point output"):
        choose_outputs([LABEL], None)
    with pytest.raises(InvalidArgument, match="got 'label'"):
        choose_outputs([LABEL, SCORES], "label")


def test_layers_are_named_after_their_tensors_and_the_answer_comes_last() -> None:
    probability = Port("probability", "FP32", (7,))
    sources = sources_of(SCORES, [MAPS, probability], None)
    assert [(each.layer.name, each.layer.kind, each.layer.unit_count, each.layer.first_unit) for each in sources] == [
        ("maps", "conv", 3, 0),
        ("probability_layer", "dense", 7, 3),
        ("dense_1_Softmax_0", "output", 2, 10),
    ]
    assert [each.is_plain for each in sources] == [False, True, True]


def test_named_ones_alone_and_the_answer_that_is_always_there() -> None:
    sources = sources_of(SCORES, [MAPS], {"hidden": "maps"})
    assert [each.layer.name for each in sources] == ["hidden", "dense_1_Softmax_0"]
    assert [each.layer.name for each in sources_of(SCORES, [MAPS], {"verdict": SCORES.name})] == ["verdict"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [({"a": "nothing"}, "no output 'nothing'"), ({"a b": "maps"}, "'a b'"), ({"probability": "maps"}, "'probability'")],
)
def test_names_that_cannot_be(layers: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        sources_of(SCORES, [MAPS], layers)


def test_an_answer_in_time_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"gives \[3, 4, 5\] values a row"):
        sources_of(MAPS, [SCORES], None)


def test_labels_are_of_units_that_there_are() -> None:
    sources = sources_of(SCORES, [], None)
    check_labels([UnitLabel(1, "a", "b")], sources)
    for units in ([2], [0, 0]):
        with pytest.raises(InvalidArgument):
            check_labels([UnitLabel(unit, "a", "b") for unit in units], sources)


def test_units_are_means_over_what_is_behind_the_first_axis() -> None:
    scalar, square = Port("s", "FP32", ()), Port("q", "FP16", (2, 1))
    sources = sources_of(SCORES, [MAPS, scalar, square], {"m": "maps", "s": "s", "q": "q", "y": SCORES.name})
    rng = np.random.default_rng(0)
    kinds = {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64}
    given = [rng.normal(size=(3, *each.port.shape)).astype(kinds[each.port.datatype]) for each in sources]
    session = onnxruntime.InferenceSession(units_model(sources), providers=["CPUExecutionProvider"])
    found = session.run(
        [each.layer.name for each in sources], {taken(index): values for index, values in enumerate(given)}
    )
    expected = [given[0].mean(axis=(2, 3)), given[1][:, None], given[2][:, :, 0], given[3]]
    for values, true in zip(found, expected, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, true, rtol=1e-5)
