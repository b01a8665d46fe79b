"""The output folder: files that hold what was found, and pages that show all of it and nothing else."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from earwitness.client.output import write_index, write_run
from earwitness.client.output.plots import trajectories_svg
from earwitness.client.output.words import number, verdict
from earwitness.errors import InvalidArgument
from tests.unit.client.runs import MODEL, WEIGHTS, names, run, score

VOID = {"meta", "img", "link", "br", "input", "hr", "source"}


class Page(HTMLParser):
    """Checks that tags nest, and collects links, ids and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        for name, value in attributes:
            if name in ("href", "src", "srcset") and not (value or "").startswith("#"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.handle_starttag(tag, attributes)
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def check_page(path: Path) -> Page:
    html = path.read_text(encoding="utf-8")
    assert html.lstrip().startswith("<!DOCTYPE html>")
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert "<script" not in html
    assert not re.search(r"url\((?!#)", html)  # the style loads nothing
    for link in page.links:
        assert not re.match(r"[a-z]+:|//", link), f"{link} is not in the folder"
        assert (path.parent / link).is_file(), f"{link} does not exist"
    return page


def test_folder_holds_everything(tmp_path: Path) -> None:
    write_run(run(3), tmp_path / "out")
    each = {f"{index:03d}.{suffix}" for index in range(3) for suffix in ("wav", "png")}
    tables = {"explanations.npz", "trajectory.csv", "request.json", "score.json", "index.html"}
    assert names(tmp_path / "out") == each | tables | {"dark"}
    assert names(tmp_path / "out/dark") == {f"{index:03d}.png" for index in range(3)}


def test_arrays(tmp_path: Path) -> None:
    found = run(3)
    write_run(found, tmp_path / "out")
    with np.load(tmp_path / "out/explanations.npz", allow_pickle=False) as arrays:
        assert arrays["latents"].shape == (3, 4)
        assert arrays["spectrograms"].shape == (3, 2, 3)
        np.testing.assert_array_equal(arrays["activations"], [1.5, 2.5, 3.5])
        np.testing.assert_array_equal(arrays["layer_activations"][:, 1], [-1, -1, -1])
        np.testing.assert_array_equal(arrays["seeds"], [100, 101, 102])
        assert json.loads(str(arrays["settings"][0]))["learning_rate"] == 0.01
        assert (str(arrays["model"]), str(arrays["weights_sha256"]), str(arrays["layer"])) == (
            MODEL.name, WEIGHTS, "fc9",
        )  # fmt: skip


def test_tables(tmp_path: Path) -> None:
    found = run(2, steps=4)
    write_run(found, tmp_path / "out")
    with (tmp_path / "out/trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4
    trajectory = found.result.explanations[1].trajectory
    assert trajectory is not None
    assert (rows[-1]["row"], rows[-1]["seed"], rows[-1]["step"]) == ("1", "101", "3")
    assert float(rows[-1]["latent_norm"]) == pytest.approx(float(trajectory.latent_norms[3]), rel=1e-6)
    request = json.loads((tmp_path / "out/request.json").read_text())
    assert request["objective"] == {"layer": "fc9", "unit": 0, "sense": "maximise", "direction": None}
    assert [row["seed"] for row in request["rows"]] == [100, 101]
    assert request["weights_sha256"] == WEIGHTS
    document = json.loads((tmp_path / "out/score.json").read_text())
    assert (document["distance"], document["row_count"], document["noise_floor"]) == (8.0, 2, 2.0)
    assert document["reference"] == "references/top50/versions/2"


def test_page_shows_and_plays_everything(tmp_path: Path) -> None:
    write_run(run(3), tmp_path / "out")
    page = check_page(tmp_path / "out/index.html")
    assert set(page.links) >= {f"{index:03d}.{suffix}" for index in range(3) for suffix in ("wav", "png")}
    assert set(page.links) >= {"explanations.npz", "trajectory.csv", "request.json", "score.json"}
    for words in (
        "svd-<r1>", "maximise fc9[0]", "vocal", "songs & <noise>", "onnxruntime in process", "seed 101",
        "3 explanations against 50 real excerpts", "learning rate 0.01", "5 of 5", "‖gradient‖",
    ):  # fmt: skip
        assert words in page.words


def test_page_without_score(tmp_path: Path) -> None:
    write_run(run(2, scored=False), tmp_path / "out")
    page = check_page(tmp_path / "out/index.html")
    assert "score.json" not in page.links
    assert not (tmp_path / "out/score.json").exists()
    assert "Fréchet" not in page.words


def test_index_links_its_runs(tmp_path: Path) -> None:
    runs = {"high": run(2), "low": run(2, "minimise")}
    for folder, each in runs.items():
        write_run(each, tmp_path / folder)
    write_index(tmp_path / "index.html", "both ways", runs)
    page = Page((tmp_path / "index.html").read_text())
    assert set(page.links) >= {"high/index.html", "low/index.html", "high/000.wav", "low/001.png"}
    assert all((tmp_path / link).is_file() for link in page.links)
    assert "minimise fc9[0]: non-vocal" in page.words


def test_full_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InvalidArgument):
        write_run(run(1), tmp_path)
    assert names(tmp_path) == {"mine"}


@pytest.mark.parametrize("count", [1, 32, 33])
def test_curves_take_the_pages_colours(count: int) -> None:
    svg = trajectories_svg(run(count).result.explanations, "#e2711d")
    assert svg is not None
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#000000" not in svg.lower()
    assert "viewBox" in svg
    assert not re.search(r'<svg[^>]*\swidth="[0-9.]+pt"', svg)


def test_verdict_goes_by_the_noise_floor() -> None:
    assert "does not tell them apart" in verdict(score(3.9))
    assert "4.00 times" in verdict(score(8.0))


@pytest.mark.parametrize("distance", [0.0, 0.005242])
def test_a_reference_that_does_not_vary_has_no_ratio(distance: float) -> None:
    said = verdict(score(distance, noise_floor=0.0, noise_floor_high=0.0, dimension_count=1))
    assert "are the same (the unit is dead, or saturated, on this audio)" in said
    assert said.endswith("and there is no ratio.")
    assert "inf" not in said
    assert "times" not in said


def test_a_batch_that_does_not_vary_is_named() -> None:
    assert verdict(score(8.0, rank=0)).endswith("All its rows are the same: it has no spread to compare.")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-1.5, "−1.50"), (1557.7, "1\u202f558"), (3.2e-7, "3.20e−07"), (6e7, "6.00e+07")]
)
def test_numbers_for_people(value: float, text: str) -> None:
    assert number(value) == text
