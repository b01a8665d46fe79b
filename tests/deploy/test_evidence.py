"""The sweeps in deploy/evidence: whole, of the weights that are shipped, and told as they are."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from earwitness.client.criteria import criterion_name, default_criterion
from earwitness.client.sweep_archive import read_archive
from earwitness.inference.metadata import complete_bundles
from earwitness.inference.repository import read_repository
from tests.deploy.chart import ROOT
from tests.deploy.evidence_tables import (
    EVIDENCE,
    compared,
    contrasts_table,
    criteria_figures,
    criteria_table,
    folders,
    grid_table,
    held_out,
    judges_table,
    objective_of,
    oppositions,
    ways_files,
    ways_tables,
)

FOLDERS = folders()
PAPER_SETTINGS, PAPER_SEEDS = 27, 50


def section(title: str, page: str = "README.md") -> str:
    """Of a page, its words one blank apart."""
    text = (EVIDENCE / page).read_text(encoding="utf-8")
    return " ".join(text.partition(f"\n## {title}\n")[2].partition("\n## ")[0].split())


def test_there_is_some() -> None:
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_is_of_a_shipped_model_and_whole(folder: Path) -> None:
    saved = read_archive(folder)
    served = read_repository(ROOT / "model_repository")
    bundles = complete_bundles({name: model.parameters for name, model in served.items()})
    assert saved.sweep.weights_sha256 in {each.weights_sha256 for each in bundles}
    assert saved.references[0] is not None
    assert [each.done for each in saved.sweep.results] == [True] * PAPER_SETTINGS
    assert {len(each.activations) for each in saved.sweep.results} == {PAPER_SEEDS}

    rows = list(csv.DictReader((folder / "sweep.csv").read_text().splitlines()))
    (ranking,) = saved.sweep.rankings
    told = {tuple(float(row[name]) for name in ("learning_rate", "prior_weight", "steps")): row for row in rows}
    for batch in ranking.batches:
        result = saved.sweep.results[int(batch.id)]
        settings = result.settings
        row = told[settings.learning_rate, settings.prior_weight, settings.steps]
        assert (int(row["rank"]), float(row["distance"])) == (batch.rank, batch.score.distance)
        assert float(row["activation_median"]) == pytest.approx(np.median(result.activations))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_leaves_the_real_range_is_most_of_what_lies_outside(folder: Path) -> None:
    """Of the objective's unit alone, as far as the top or bottom excerpts tell: one definition, in every file."""
    saved = read_archive(folder)
    (asked,), (reference,), (ranking,) = saved.sweep.objectives, saved.references, saved.sweep.rankings
    assert reference is not None
    version = next(each for each in reference.versions if each.name.endswith(ranking.reference_version))
    rows = {float(row["distance"]): row for row in csv.DictReader((folder / "sweep.csv").read_text().splitlines())}
    judged = {each["ranked"]["score"]["distance"]: each["ranked"] for each in objective_of(folder)["settings"]}
    for batch in ranking.batches:
        layer = saved.sweep.results[int(batch.id)].layer_activations
        assert layer is not None
        found = layer[:, asked.objective.unit].astype(np.float64)
        top = reference.selection.kind == "top"
        outside = float(np.mean(found > version.unit_maximum if top else found < version.unit_minimum))
        score, told = batch.score, judged.get(batch.score.distance)
        assert score.outside_range_ratio == float(rows[score.distance]["outside_range_ratio"]) == outside
        assert batch.leaves_range is (outside > 0.5)
        assert told is None or told["score"]["outside_range_ratio"] == outside


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_is_told_as_it_is(folder: Path) -> None:
    objective = objective_of(folder)
    ranking = read_archive(folder).sweep.rankings[0]
    assert sorted(each["distance"] for each in objective["grid"]) == [each.score.distance for each in ranking.batches]
    text = section(folder.name)
    for told in (objective["shape"]["words"], judges_table(objective), grid_table(folder)):
        assert " ".join(told.split()) in text


def test_what_judges_tell_apart_is_told_as_it_is() -> None:
    assert oppositions()
    for each in oppositions():
        assert " ".join(contrasts_table(each).split()) in section("What the judges tell apart")


@pytest.mark.parametrize("figures", criteria_figures(), ids=lambda figures: figures.stem)
def test_what_criteria_choose_is_told_as_it_is(figures: Path) -> None:
    model = compared(figures)
    assert " ".join(criteria_table(model).split()) in section(model["model"], "CRITERIA.md")


def test_criteria_are_compared_on_the_sweeps_that_lie_here() -> None:
    swept = {read_archive(folder).sweep.sweep_id for folder in FOLDERS}
    assert swept == {each for figures in criteria_figures() for each in compared(figures)["sweeps"]}


@pytest.mark.parametrize("figures", criteria_figures(), ids=lambda figures: figures.stem)
def test_the_default_criterion_is_nearer_the_front_than_the_published_one(figures: Path) -> None:
    """With the songs that made the references, and without; within the range, and whatever the range."""
    model = compared(figures)
    served = complete_bundles(
        {name: each.parameters for name, each in read_repository(ROOT / "model_repository").items()}
    )
    (layers,) = (each.layers for each in served if each.name == model["model"])
    default = criterion_name(default_criterion(layers))
    choices = model["whole"]["choices"]
    place = {(each["criterion"], each["within_range"]): at for at, each in enumerate(choices)}
    for within in (False, True):
        own, published = place[default, within], place["unit", within]
        assert choices[own]["regret"] < choices[published]["regret"]
        assert held_out(model, own) < held_out(model, published)


@pytest.mark.parametrize("file", ways_files(), ids=lambda file: file.stem)
def test_ways_are_of_a_shipped_model_and_told_as_they_are(file: Path) -> None:
    document = json.loads(file.read_text())
    served = read_repository(ROOT / "model_repository")
    bundles = complete_bundles({name: model.parameters for name, model in served.items()})
    assert {each.name: each.weights_sha256 for each in bundles}[document["model"]] == document["weights_sha256"]
    assert document["model"] == file.stem
    found = [way for way in document["whole"]["ways"] if way["settings"]]
    assert len(found) > 1
    for way in found:
        assert (way["high"]["row_count"], way["low"]["row_count"]) == (PAPER_SEEDS, PAPER_SEEDS), way["name"]
    assert " ".join(ways_tables(file).split()) in section(f"Ways to search: {file.stem}")
