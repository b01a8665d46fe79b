"""Directions from files and from seeds."""

from pathlib import Path

import numpy as np
import pytest

from earwitness.client.directions import direction_of
from earwitness.client.values import Layer, Objective
from earwitness.errors import InvalidArgument

LAYER = Layer("fc8", "dense", 64, 0)


def test_a_file_names_weights_by_unit(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text('{"7": -0.5, "3": 1}')
    assert direction_of(str(path), LAYER) == {7: -0.5, 3: 1.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "names no unit"), ("[1, 2]", "no weights by unit"), ('{"a": 1}', "no weights"),
     ('{"1": "x"}', "no weights"), ('{"1": null}', "no weights"), ("nonsense", "is no JSON"), ("\xff", "is no JSON")],
)  # fmt: skip
def test_files_that_hold_something_else(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidArgument, match=said):
        direction_of(str(path), LAYER)


def test_a_seed_draws_one_direction_over_the_whole_layer() -> None:
    first = direction_of("random:1", LAYER)
    assert list(first) == list(range(64))
    assert np.linalg.norm(list(first.values())) == pytest.approx(1, abs=1e-6)
    assert first == direction_of("random:1", LAYER)
    other = direction_of("random:2", LAYER)
    assert abs(np.dot(list(first.values()), list(other.values()))) < 0.6
    for words in ("random:", "random:-1", "random:1.5", "random:²"):
        with pytest.raises(InvalidArgument, match="whole number"):
            direction_of(words, LAYER)


def test_many_weights_are_told_by_the_heaviest() -> None:
    few = Objective("fc8", None, "maximise", {3: 1.0, 7: -0.5})
    assert str(few) == "maximise fc8[+1·3 -0.5·7]"
    many = Objective("fc8", None, "minimise", {unit: (-1) ** unit * unit / 100 for unit in range(64)})
    assert str(many) == "minimise fc8[-0.63·63 +0.62·62 -0.61·61 and 61 more]"
