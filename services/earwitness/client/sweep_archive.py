"""A saved sweep as a file: `sweep.npz`, numpy arrays and one JSON text that says what they are.

seeds [S]; for each result r that is done, in the order of `done` [R]: activations [R, S], best_steps [R, S],
diverged_steps [R, S] (-1 for a row that stayed finite), latents [R, S, Z]; layer_activations_N [R of it, S, units]
for the results of objective N alone, as its layer has units of its own. Result o * settings + s is of objective o and
setting s. Trajectories are not kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness import __version__
from earwitness.arrays import DAMAGED, load
from earwitness.client.saved_sweep import SavedSweep
from earwitness.client.sweep_values import Sweep, SweepObjective, SweepRanking, SweepResult, SweepState
from earwitness.client.values import Criterion, Model, Reference, Settings
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from pydantic import TypeAdapter

ARCHIVE_FILE = "sweep.npz"
DESCRIPTION = "description"
"""The array that holds the JSON text."""


@dataclass(frozen=True)
class Description:
    """All of a saved sweep but its arrays."""

    format: Literal[1]
    earwitness_version: str
    sweep_id: str
    model: Model
    objectives: tuple[SweepObjective, ...]
    settings: tuple[Settings, ...]
    state: SweepState
    rankings: tuple[SweepRanking, ...]
    references: tuple[Reference | None, ...]
    row_step_count: int
    search_duration_s: float
    create_time: datetime
    end_time: datetime | None
    resumed_from: str | None
    keep_count: int = 0
    criterion: Criterion | None = None


def write_archive(saved: SavedSweep, folder: Path) -> None:
    """Write `sweep.npz` into a folder that is there."""
    sweep = saved.sweep
    description = Description(
        format=1,
        earwitness_version=__version__,
        sweep_id=sweep.sweep_id,
        model=saved.model,
        objectives=sweep.objectives,
        settings=tuple(each.settings for each in sweep.results_of(0)),
        state=sweep.state,
        rankings=sweep.rankings,
        references=saved.references,
        row_step_count=sweep.row_step_count,
        search_duration_s=sweep.search_duration_s,
        create_time=sweep.create_time,
        end_time=sweep.end_time,
        resumed_from=sweep.resumed_from,
        keep_count=sweep.keep_count,
        criterion=sweep.criterion,
    )
    done = [each for each in sweep.results if each.done]
    arrays: dict[str, NDArray[Any]] = {
        DESCRIPTION: np.array(_adapter().dump_json(description).decode()),
        "seeds": np.array(sweep.seeds, np.int64),
        "done": np.array([each.index for each in done], np.int64),
        "activations": np.array([each.activations for each in done], np.float32),
        "best_steps": np.array([each.best_steps for each in done], np.int64),
        "diverged_steps": np.array([each.diverged_steps for each in done], np.int64),
        "latents": np.array([each.latents for each in done], np.float32),
    }
    for index in range(len(sweep.objectives)):
        layers = [each.layer_activations for each in sweep.results_of(index) if each.done]
        arrays[_layer_name(index)] = np.array(layers, np.float32)
    np.savez_compressed(folder / ARCHIVE_FILE, allow_pickle=False, **arrays)


def read_archive(folder: Path) -> SavedSweep:
    """The sweep that `write_archive` wrote into a folder, figure for figure.

    Raises: InvalidArgument when there is none, or it is not whole.
    """
    path = folder / ARCHIVE_FILE
    try:
        with load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        description = _adapter().validate_json(str(arrays[DESCRIPTION]))
        return SavedSweep(_sweep(description, arrays), description.model, description.references)
    except FileNotFoundError:
        raise InvalidArgument(
            "sweep", f"{folder} has no {ARCHIVE_FILE}; give a folder that a sweep was saved to"
        ) from None
    except (KeyError, IndexError, OSError, *DAMAGED, InvalidArgument) as err:
        raise InvalidArgument("sweep", f"{path} is no saved sweep of this version ({_words(err)})") from err


def _sweep(description: Description, arrays: Mapping[str, NDArray[Any]]) -> Sweep:
    """Raises: KeyError, IndexError, ValueError for arrays that do not fit the description; InvalidArgument for an
    objective that its model does not have."""
    settings, objectives, seeds = description.settings, description.objectives, arrays["seeds"]
    for asked in (each.objective for each in objectives):
        for unit in asked.direction or () if asked.unit is None else (asked.unit,):
            description.model.unit_in(asked.layer, unit)
    places = {int(index): place for place, index in enumerate(arrays["done"])}
    row_shape = (len(places), len(seeds))
    for name in ("activations", "best_steps", "diverged_steps"):
        if arrays[name].shape != row_shape:
            raise ValueError(f"{name} has shape {arrays[name].shape}, not {row_shape}")
    results, of_objective = [], [0] * len(objectives)
    for index in range(len(objectives) * len(settings)):
        objective, setting = divmod(index, len(settings))
        place = places.get(index)
        if place is None:
            results.append(SweepResult.to_do(index, objective, settings[setting]))
            continue
        results.append(
            SweepResult(
                index=index,
                objective_index=objective,
                settings=settings[setting],
                done=True,
                activations=arrays["activations"][place],
                best_steps=arrays["best_steps"][place],
                diverged_steps=arrays["diverged_steps"][place],
                latents=arrays["latents"][place],
                layer_activations=arrays[_layer_name(objective)][of_objective[objective]],
            )
        )
        of_objective[objective] += 1
    return Sweep(
        sweep_id=description.sweep_id,
        model=description.model.name,
        weights_sha256=description.model.weights_sha256,
        objectives=objectives,
        seeds=range(int(seeds[0]), int(seeds[-1]) + 1),
        state=description.state,
        results=tuple(results),
        rankings=description.rankings,
        row_step_count=description.row_step_count,
        search_duration_s=description.search_duration_s,
        create_time=description.create_time,
        end_time=description.end_time,
        resumed_from=description.resumed_from,
        keep_count=description.keep_count,
        criterion=description.criterion,
    )


def _words(err: Exception) -> str:
    from pydantic import ValidationError

    if isinstance(err, ValidationError):
        first = err.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(err)


def _layer_name(objective: int) -> str:
    return f"layer_activations_{objective}"


@cache
def _adapter() -> "TypeAdapter[Description]":
    from pydantic import TypeAdapter

    return TypeAdapter(Description)
