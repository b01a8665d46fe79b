"""A sweep's folder: tables with every figure, a picture of the grid, a page that shows and plays all of it."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from earwitness.client.output import Examples, SweepReport, example_ranks, write_sweep, write_sweeps
from earwitness.client.output.grid import Grid, grid_svg
from earwitness.client.output.words import percent, settings_line
from earwitness.client.values import Criterion, Settings, Target
from earwitness.errors import InvalidArgument
from tests.unit.client.runs import names
from tests.unit.client.sweeps import PAPER, RATES, SAVED, SEEDS, distance_of, sweep
from tests.unit.client.test_output import Page, check_page

BEST, WORST = min(PAPER, key=distance_of), max(PAPER, key=distance_of)
OPEN_RANGES = tuple(
    Settings("adam", float(rate), float(prior), int(steps), 0.0)
    for rate, prior, steps in zip(
        np.geomspace(3e-4, 0.3, 12), np.geomspace(0.1, 1e-4, 12), np.linspace(50, 1000, 12), strict=True
    )
)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the paper's grid, to be read."""
    folder = tmp_path_factory.mktemp("sweep") / "out"
    write_sweep(folder, sweep(), SAVED)
    return folder


def page_of(report: SweepReport, folder: Path) -> Page:
    write_sweep(folder, report, SAVED)
    return check_page(folder / "index.html")


def test_folder_holds_everything(paper: Path) -> None:
    tables = {"sweep.csv", "sweep.json", "sweep.npz", "grid.png", "index.html"}
    assert names(paper) == tables | {"best", "median", "worst", "real"}
    each = {f"{index:03d}.{suffix}" for index in range(2) for suffix in ("wav", "png")}
    for name in ("best", "median", "worst"):
        assert names(paper / name) == each | {"explanations.npz", "trajectory.csv", "dark"}
    assert names(paper / "real") == each | {"002.wav", "002.png", "dark"}
    with np.load(paper / "best/explanations.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["settings"][0]))["learning_rate"] == BEST.learning_rate


def test_table_has_a_line_for_each_setting_best_first(paper: Path) -> None:
    with (paper / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(1, 28))
    distances = [float(row["distance"]) for row in rows]
    assert distances == sorted(map(distance_of, PAPER))
    first = rows[0]
    assert (float(first["learning_rate"]), float(first["prior_weight"]), int(first["steps"])) == (
        BEST.learning_rate, BEST.prior_weight, BEST.steps,
    )  # fmt: skip
    assert float(first["probability_best"]) == 0.75
    assert (first["leaves_range"], rows[-1]["leaves_range"]) == ("False", "True")
    for column in (
        "interval_low",
        "interval_high",
        "noise_floor",
        "row_count",
        "covariance_rank",
        "activation_median",
        "mean_term",
    ):
        assert float(first[column]) >= 0


def test_document(tmp_path: Path) -> None:
    report = sweep()
    diverged = replace(report.outcomes[0], activations=np.array([1, np.nan, 3, 2, np.inf], np.float32))
    write_sweep(tmp_path / "out", replace(report, outcomes=(diverged, *report.outcomes[1:])), SAVED)
    document = json.loads((tmp_path / "out/sweep.json").read_text())
    assert document["objective"] == {"layer": "fc9", "unit": 0, "sense": "maximise", "direction": None}
    assert document["reference"]["version"] == "references/top50/versions/2"
    assert (document["seeds"], document["setting_count"]) == (list(SEEDS), 27)
    assert len(document["outcomes"]) == 27
    assert document["outcomes"][0]["settings"] == document["examples"]["best"]
    assert document["outcomes"][0]["score"]["distance"] == pytest.approx(distance_of(BEST))
    found = next(each for each in document["outcomes"] if each["score"]["distance"] == distance_of(PAPER[0]))
    assert found["activations"] == [1, None, 3, 2, None]


def test_page_shows_and_plays_everything(paper: Path) -> None:
    page = check_page(paper / "index.html")
    played = {f"{name}/{index:03d}.wav" for name in ("best", "median", "worst", "real") for index in range(2)}
    assert set(page.links) >= played | {each.replace(".wav", ".png") for each in played}
    assert set(page.links) >= {
        "sweep.csv",
        "sweep.json",
        "sweep.npz",
        "grid.png",
        "worst/trajectory.csv",
        "real/002.wav",
    }
    for words in (
        "svd-<r1>", "sweep of maximise fc9[0]: vocal", "27 settings", "5 seeds", "135 sounds",
        f"Best setting: {settings_line(BEST)}", "best of 27 settings with a probability of 75 %", "probability best",
        "noise floor", "fc9[0] alone", "song & 1.ogg, 1.5 s", "leaves range", settings_line(WORST), "rank 27",
        "songs & <noise>", "43 200 row-steps", "‖gradient‖", "100 steps", "500 steps", "1000 steps",
    ):  # fmt: skip
        assert words in page.words, words
    assert page.words.count("leaves range") == sum(distance_of(each) > 100 for each in PAPER)


def test_page_can_be_read_without_seeing_it(paper: Path) -> None:
    html = (paper / "index.html").read_text()
    assert not re.search(r"<img(?![^>]*\salt=\"[^\"]+\")", html)
    assert not re.search(r"<audio(?![^>]*\saria-label=\"[^\"]+\")", html)
    assert html.count("<table>") == html.count("<caption>") == 1
    assert 'scope="col"' in html
    assert html.count('scope="row"') == 27
    drawings = re.findall(r'<svg [^>]*role="img" aria-labelledby="(\S+)" aria-describedby="(\S+)">', html)
    assert len(drawings) == html.count("<svg") == 8  # the grid and three searches, wide and narrow
    for title, details in drawings:
        assert re.search(rf'<title id="{title}">[^<]{{20,}}</title><desc id="{details}">[^<]{{20,}}</desc>', html)
    assert f"lowest at {settings_line(BEST)}" in html
    assert html.count("<figure>") == html.count("<figcaption") == 4  # grid, three searches


def test_every_cell_of_the_grid_has_its_number() -> None:
    report = sweep()
    grid = Grid.of(report.outcomes)
    assert grid.filled
    assert {title: len(members) for title, members in grid.panels.items()} == {
        "100 steps": 9, "500 steps": 9, "1000 steps": 9,
    }  # fmt: skip
    svg = grid_svg(grid)
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert {f"{rate:g}" for rate in RATES} | {"λ 0.1", "λ 0.01", "λ 0.001", "learning rate"} <= set(texts)
    assert "1.99" in texts
    assert "9\u202f092" in texts
    assert "currentColor" in svg


def test_colours_go_by_the_logarithm_and_marks_by_the_ranking(paper: Path) -> None:
    picture = matplotlib.image.imread(paper / "grid.png")[..., :3]
    assert picture.shape[1] > 1500
    yellow, purple = np.array([253, 231, 37]) / 255, np.array([68, 1, 84]) / 255
    shares = [float((np.abs(picture - colour).max(axis=2) < 0.03).mean()) for colour in (yellow, purple)]
    assert all(0.005 < share < 0.1 for share in shares)  # a cell each, not all but the worst alike


def test_settings_that_are_no_grid_are_drawn_as_points(tmp_path: Path) -> None:
    report = sweep(OPEN_RANGES)
    assert not Grid.of(report.outcomes).filled
    page = page_of(report, tmp_path / "out")
    assert "Larger points took more steps" in page.words
    assert (tmp_path / "out/grid.png").stat().st_size > 10_000


def test_optimisers_decays_and_zero_priors_have_their_place(tmp_path: Path) -> None:
    settings = tuple(
        Settings(optimiser, 0.01, prior, steps, decay)  # type: ignore[arg-type]
        for optimiser in ("adam", "sgd")
        for steps in (10, 20)
        for prior, decay in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.5))
    )
    page = page_of(sweep(settings), tmp_path / "out")
    for words in ("10 steps, adam", "20 steps, sgd", "decay 0.5", "λ 0 ", "way", "weight decay"):
        assert words in page.words, words
    loose = tuple(replace(each, learning_rate=0.01 * (index + 1)) for index, each in enumerate(settings))
    assert "<svg" in grid_svg(Grid.of(sweep(loose).outcomes))


def test_ways_have_a_line_each_with_all_that_they_go_by(tmp_path: Path) -> None:
    target = Target(0, 1, quantile=True)
    settings = (
        Settings("adam", 0.01, 0.001, 100, 0.0),
        Settings("normalised", 0.2, 0.0, 100, 0.0, target),
        Settings("normalised", 0.2, 0.0, 100, 0.0, target, 8),
        Settings("walk", 0.3, 0.0, 200, 0.0, Target(4, 7)),
    )
    report = sweep(settings)
    drawn = replace(report.outcomes[0], settings=Settings("draws", draws=4000))
    kept = [replace(each, ranked=replace(each.ranked, kept_rows=(1, 3))) for each in (drawn, *report.outcomes[1:])]  # type: ignore[type-var]
    assert report.against is not None
    against = replace(report.against, criterion=Criterion("distance", ("pool3",)))
    report = replace(report, outcomes=tuple(kept), against=against)
    assert not Grid.of(report.outcomes).filled
    page = page_of(report, tmp_path / "out")
    for words in (
        "draws, 4 000 in all", "normalised, to quantiles 0 to 1 of the reference, best of 8 draws", "walk, to 4 to 7",
        "ranked by the distance over pool3", "kept 2 of 5, those nearest to real excerpts", "way",
    ):  # fmt: skip
        assert words in page.words, words
    svg = grid_svg(Grid.of(report.outcomes))
    assert "4000 draws" in svg
    assert "best of 8 draws" in svg
    with (tmp_path / "out/sweep.csv").open(newline="") as file:
        targets = {(row["optimiser"], row["target"], row["draws"]) for row in csv.DictReader(file)}
    assert targets == {("draws", "", "4000"), ("normalised", "q0:1", ""), ("walk", "4:7", "")}


def test_long_rankings_fold_and_cells_too_small_have_no_number(tmp_path: Path) -> None:
    settings = tuple(Settings("adam", 0.001 * (index + 1), 0.1, 100, 0.0) for index in range(40))
    page = page_of(sweep(settings), tmp_path / "out")
    assert "10 more" in page.words
    assert "0.04" in page.words


def test_without_a_reference_nothing_is_ranked(tmp_path: Path) -> None:
    page = page_of(sweep(ranked=False, excerpts=0), tmp_path / "out")
    assert "no reference was given" in page.words
    assert "Median activation of each setting" in page.words
    for words in ("FID", "probability best", "nearest to real audio", "real audio"):
        assert words not in page.words, words
    assert "rank" not in (tmp_path / "out/sweep.csv").read_text()
    assert names(tmp_path / "out") == {"sweep.csv", "sweep.json", "sweep.npz", "grid.png", "index.html", "best"}


def test_a_sweep_that_ended_early_says_so(tmp_path: Path) -> None:
    report = sweep(PAPER[:4])
    page = page_of(replace(report, setting_count=27), tmp_path / "out")
    assert "4 of 27 settings were done" in page.words


@pytest.mark.parametrize(("distance", "said"), [(0.0, "does not tell them apart"), (1e9, "none of these settings")])
def test_one_setting_and_distances_at_the_ends(tmp_path: Path, distance: float, said: str) -> None:
    report = sweep(PAPER[:1], excerpts=0)
    (outcome,) = report.outcomes
    assert outcome.ranked
    score = replace(outcome.ranked.score, distance=distance, interval_low=0.0, noise_floor=0.0)
    outcome = replace(outcome, ranked=replace(outcome.ranked, score=score, leaves_range=distance > 1))
    examples = (Examples("best", outcome, report.examples[0].explanations),)
    page = page_of(replace(report, outcomes=(outcome,), examples=examples), tmp_path / "out")
    assert said in page.words
    assert "probability of" not in page.words


def test_an_earlier_sweep_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_sweep(tmp_path / "out", sweep(PAPER[:3]), SAVED)
    with pytest.raises(InvalidArgument, match="--force"):
        write_sweep(tmp_path / "out", sweep(), SAVED)
    write_sweep(tmp_path / "out", sweep(), SAVED, force=True)
    assert len((tmp_path / "out/sweep.csv").read_text().splitlines()) == 28
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("x")
    with pytest.raises(InvalidArgument):
        write_sweep(tmp_path / "mine", sweep(), SAVED, force=True)
    assert names(tmp_path / "mine") == {"notes"}


def test_several_objectives_have_a_page_over_them(tmp_path: Path) -> None:
    reports = {"fc9-0-maximise": sweep(), "fc9-0-minimise": sweep(PAPER[:9], "minimise")}
    write_sweeps(tmp_path / "out", reports, SAVED)
    assert names(tmp_path / "out") == {*reports, "index.html", "objectives.json", "sweep.npz"}
    for folder in reports:
        assert "sweep.csv" in names(tmp_path / "out" / folder)
        assert "../sweep.npz" in check_page(tmp_path / "out" / folder / "index.html").links
    page = check_page(tmp_path / "out/index.html")
    assert {f"{folder}/index.html" for folder in reports} | {"objectives.json", "sweep.npz"} <= set(page.links)
    for words in ("sweep of 2 objectives", "maximise fc9[0]", "minimise fc9[0]", "vocal", settings_line(BEST), "75 %"):
        assert words in page.words, words
    html = (tmp_path / "out/index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)), "two drawings share an id"
    assert html.count('<svg class="wide"') == html.count('<svg class="narrow"') == 2
    document = json.loads((tmp_path / "out/objectives.json").read_text())
    assert document["fc9-0-maximise"]["best"]["settings"]["learning_rate"] == BEST.learning_rate
    with pytest.raises(InvalidArgument, match="--force"):
        write_sweeps(tmp_path / "out", reports, SAVED)
    write_sweeps(tmp_path / "out", {"fc9-0-maximise": sweep(ranked=False)}, SAVED, force=True)
    assert "without a reference none is chosen" in check_page(tmp_path / "out/index.html").words
    assert "fc9-0-minimise" not in names(tmp_path / "out")


@pytest.mark.parametrize(
    ("count", "ranks"),
    [(1, {"best": 1}), (2, {"best": 1, "worst": 2}), (27, {"best": 1, "median": 14, "worst": 27})],
)
def test_examples_worth_showing(count: int, ranks: dict[str, int]) -> None:
    assert example_ranks(count) == ranks


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0 %"), (0.004, "< 1 %"), (0.375, "38 %"), (0.999, "> 99 %"), (1, "100 %")]
)
def test_probabilities_for_people(share: float, words: str) -> None:
    assert percent(share) == words
