"""A run's curves as a picture."""

from pathlib import Path

import matplotlib.image
import pytest

from earwitness.training.pictures import draw_curves


@pytest.mark.parametrize("columns", [1, 3, 4])
def test_curves_are_drawn_whatever_they_hold(tmp_path: Path, columns: int) -> None:
    rows = [{"epoch": float(epoch), **{f"loss_{each}": 1.0 / epoch for each in range(columns)}} for epoch in (1, 2, 3)]
    rows[1]["loss_0"] = float("nan")
    rows[2]["late"] = float("inf")
    path = tmp_path / "curves.png"
    draw_curves(path, rows)
    picture = matplotlib.image.imread(path)
    assert picture.shape[0] == (260 if columns < 3 else 520)
    assert picture[..., :3].std() > 0.01
    assert [each.name for each in tmp_path.iterdir()] == ["curves.png"]


def test_no_rows_make_no_picture(tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.png", [])
    draw_curves(tmp_path / "curves.png", [{"epoch": 1.0}])
    assert list(tmp_path.iterdir()) == []
