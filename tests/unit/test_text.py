"""JSON that every reader takes."""

import json
from pathlib import Path

import numpy as np

from earwitness.text import json_text


def test_numbers_that_json_lacks_become_null() -> None:
    document = {"eer": float("nan"), "ends": (float("-inf"), 0.5), 3: [{"path": Path("a/b")}], "n": np.float64("inf")}
    assert json.loads(json_text(document)) == {"eer": None, "ends": [None, 0.5], "3": [{"path": "a/b"}], "n": None}
