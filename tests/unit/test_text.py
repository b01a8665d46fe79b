"""JSON that every reader takes, and times in words."""

import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.text import duration, json_text


def test_numbers_that_json_lacks_become_null() -> None:
    document = {"eer": float("nan"), "ends": (float("-inf"), 0.5), 3: [{"path": Path("a/b")}], "n": np.float64("inf")}
    assert json.loads(json_text(document)) == {"eer": None, "ends": [None, 0.5], "3": [{"path": "a/b"}], "n": None}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89.0, "89 s"), (90.0, "2 min"), (3600.0, "60 min"), (5401.0, "1 h 31 min"), (7261.0, "2 h 02 min")],
)
def test_a_time_is_told_as_precisely_as_an_estimate_deserves(seconds: float, words: str) -> None:
    assert duration(seconds) == words
