"""Writes one search and its score, and explanations wherever they belong, as files."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np

from earwitness import __version__
from earwitness.client.activations import ARRAYS_FILE
from earwitness.client.output.directory import new_directory
from earwitness.client.output.media import dark_picture, levelled
from earwitness.client.output.page import DARK_FOLDER, REAL_FOLDER, START_FOLDER, write_run_page
from earwitness.client.output.report import RealExcerpt
from earwitness.client.output.run import Run, Scoring, file_stem
from earwitness.client.values import Explanation

NEVER = -1
"""Diverged step of a row that stayed finite."""
RUN_MARKS = ("request.json", ARRAYS_FILE)
"""An output folder has them."""


def write_run(run: Run, directory: Path, *, force: bool = False) -> None:
    """Write the folder: `explanations.npz`, `NNN.wav`, `NNN.png`, `trajectory.csv`, `request.json`, `score.json` when
    it was scored, and `index.html`; `start/` and `real/` with sounds and pictures where the run has them. Sounds are
    written as `media.levelled` makes them, and `dark/` holds the pictures as a dark page shows them.

    The folder appears whole or not at all. Raises: InvalidArgument when it holds something and `force` is not given.
    """
    with new_directory(directory, force=force, marks=RUN_MARKS) as folder:
        origin = (run.model.name, run.result.summary.weights_sha256, run.objective.layer)
        write_explanations(run.result.explanations, origin, folder)
        write_json(request_document(run), folder / "request.json")
        if run.scoring is not None:
            write_json(score_document(run.scoring), folder / "score.json")
        write_sounds_and_pictures(run.starts, folder / START_FOLDER)
        write_excerpts(run.excerpts, folder / REAL_FOLDER)
        write_run_page(run, folder)


def request_document(run: Run) -> dict[str, Any]:
    """What was asked, with every setting as used, and what did it: enough to run it again."""
    return {
        "earwitness_version": __version__,
        "finished": run.finished.astimezone(UTC).isoformat(timespec="seconds"),
        "model": run.model.name,
        "weights_sha256": run.result.summary.weights_sha256,
        "objective": asdict(run.objective),
        "meaning": run.meaning,
        "rows": [
            {"seed": each.seed, "objective": asdict(each.objective), "settings": asdict(each.settings)}
            for each in run.result.explanations
        ],
        "summary": asdict(run.result.summary),
        "reference": run.scoring.scored.version.name if run.scoring else None,
    }


def score_document(scoring: Scoring) -> dict[str, Any]:
    """The score with everything needed to judge it."""
    version = scoring.scored.version
    return {
        "reference": version.name,
        "selection": str(scoring.reference.selection),
        "description": scoring.reference.description,
        **asdict(scoring.reference.identity),
        "unit": scoring.unit,
        **asdict(scoring.scored.score),
        "reference_unit_minimum": version.unit_minimum,
        "reference_unit_maximum": version.unit_maximum,
    }


def write_explanations(explanations: Sequence[Explanation], origin: tuple[str, str, str], folder: Path) -> None:
    """Write `explanations.npz`, `NNN.wav`, `NNN.png`, `trajectory.csv`; `origin` is (model, weights_sha256, layer)."""
    _write_arrays(explanations, origin, folder / ARRAYS_FILE)
    write_sounds_and_pictures(explanations, folder)
    _write_trajectories(explanations, folder / "trajectory.csv")


def write_sounds_and_pictures(explanations: Sequence[Explanation], folder: Path) -> None:
    """Write `NNN.wav` and `NNN.png` of those that have them, into a folder that is made where there is none."""
    for explanation in explanations:
        _write_media(file_stem(explanation), explanation.audio_wav, explanation.picture_png, folder)


def write_excerpts(excerpts: Sequence[RealExcerpt], folder: Path) -> None:
    """Write real excerpts in the same way, numbered in their order."""
    for index, each in enumerate(excerpts):
        _write_media(f"{index:03d}", each.audio_wav, each.picture_png, folder)


def _write_media(stem: str, audio_wav: bytes | None, picture_png: bytes | None, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if audio_wav is not None:
        (folder / f"{stem}.wav").write_bytes(levelled(audio_wav).wav)
    if picture_png is not None:
        (folder / f"{stem}.png").write_bytes(picture_png)
        (folder / DARK_FOLDER).mkdir(exist_ok=True)
        (folder / DARK_FOLDER / f"{stem}.png").write_bytes(dark_picture(picture_png))


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write a document for people and programs: indented, UTF-8, without NaN."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_arrays(explanations: Sequence[Explanation], origin: tuple[str, str, str], path: Path) -> None:
    model, weights_sha256, layer = origin
    np.savez_compressed(
        path,
        model=np.array(model),
        weights_sha256=np.array(weights_sha256),
        layer=np.array(layer),
        latents=np.stack([each.latent for each in explanations]),
        spectrograms=np.stack([each.spectrogram for each in explanations]),
        activations=np.array([each.activation for each in explanations], np.float32),
        layer_activations=np.stack([each.layer_activations for each in explanations]),
        seeds=np.array([each.seed for each in explanations], np.int64),
        best_steps=np.array([each.best_step for each in explanations], np.int32),
        diverged_steps=np.array(
            [NEVER if each.diverged_step is None else each.diverged_step for each in explanations], np.int32
        ),
        settings=np.array([json.dumps(asdict(each.settings)) for each in explanations]),
        objectives=np.array([json.dumps(asdict(each.objective)) for each in explanations]),
    )


def _write_trajectories(explanations: Sequence[Explanation], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "seed", "step", "activation", "latent_norm", "gradient_norm"])
        for each in explanations:
            if each.trajectory is None:
                continue
            columns = (each.trajectory.activations, each.trajectory.latent_norms, each.trajectory.gradient_norms)
            for step, (activation, latent_norm, gradient_norm) in enumerate(zip(*columns, strict=True)):
                writer.writerow([each.row_index, each.seed, step, activation, latent_norm, gradient_norm])
