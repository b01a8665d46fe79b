"""The one loop that trains: rounds, curves, checkpoints, and a state from which a run that was killed continues."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from earwitness.training.prepared import Batch
from earwitness.training.run_folder import Progress, RunFolder, random_state, restore_random_state

logger = logging.getLogger(__name__)

SHOWN_LOSSES, LOGGED_UPDATES = 50, 200
"""Losses that the shown one is the mean of, and updates between two lines of the log."""


@dataclass(frozen=True)
class Schedule:
    """A run of `total` epochs or updates (`unit`), saved after every `round_length` of them and at the end."""

    unit: Literal["epoch", "update"]
    total: int
    round_length: int = 1


class Learner(ABC):
    """What `fit` trains: networks, their optimisers, and what was best so far. All of its memory is in `state`."""

    @abstractmethod
    def train(self, first: int, last: int) -> dict[str, float]:
        """One round: epochs (or updates) `first` to `last` − 1, counted from 0; its figures, as curves.csv has them.

        Raises: Diverged when a loss is no number.
        """

    @abstractmethod
    def keep(self, figures: Mapping[str, float], done: int) -> None:
        """Write a checkpoint of the networks after `done` epochs (or updates), where their figures deserve one."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Everything that another process needs to go on, but torch's random streams: those `fit` keeps."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""

    def begin(self) -> None:  # noqa: B027 -- most have nothing to do
        """Called before the first round of a run that does not continue another."""

    def ended(self, done: int) -> bool:
        """Whether the run is over before its time, after `done` epochs (or updates)."""
        return False


def fit(folder: RunFolder, learner: Learner, schedule: Schedule, stop_after: int | None = None) -> None:
    """Trains, or continues, the run in `folder`, which is in use; every round is saved before the next one begins.

    A run that was killed, or ended by `stop_after` epochs (updates, rounded down to whole rounds), continues: on a CPU
    to the very weights that an uninterrupted run reaches.

    Raises: CheckpointError when the folder holds another run; Diverged, with the state of the last round kept.
    """
    unit, total = schedule.unit, schedule.total
    done, curves = 0, list[dict[str, float]]()
    saved = folder.resume()
    if saved is None:
        learner.begin()
    else:
        done, curves = saved[unit], saved["curves"]
        learner.load_state(saved)
        restore_random_state(saved["random"])
        logger.info("continuing at %s %d of %d", unit, done, total)
    last = min(total, done + (stop_after or total))
    while (upto := min(done + schedule.round_length, total)) <= last and upto > done:
        if learner.ended(done):
            logger.info("no better since long enough: stopped after %s %d", unit, done)
            break
        figures = learner.train(done, upto)
        done = upto
        curves.append({unit: float(done), **figures})
        logger.info("%s %d: %s", unit, done, ", ".join(f"{name} {value:.5g}" for name, value in figures.items()))
        learner.keep(figures, done)
        folder.write_curves(curves)
        folder.save_state({unit: done, "curves": curves, **learner.state(), "random": random_state()})


def mean_loss(
    batches: Iterable[Batch], update: Callable[[Batch, int], float], first: int, total: int, progress: Progress
) -> float:
    """The mean loss of a pass over `batches`; `update` takes each and its number (from `first` up), gives its loss."""
    losses = list[float]()
    for number, batch in enumerate(batches, start=first):
        losses.append(update(batch, number))
        done = number + 1
        progress(done, total, f"loss {np.mean(losses[-SHOWN_LOSSES:]):.3f}")
        if done % LOGGED_UPDATES == 0:
            logger.info("update %d: loss %.4f", done, float(np.mean(losses[-LOGGED_UPDATES:])))
    return float(np.mean(losses))
