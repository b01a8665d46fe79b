"""What a result holds: the best iterates of one setting for one objective, and its bytes in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.state import Outcome, SearchState, StoppedBy
from earwitness.explainer.sweep.layout import Place
from earwitness.explainer.sweep.store import StoredResult
from earwitness.inference.backend import FloatArray
from earwitness.storage import blobs
from earwitness.vocabulary.search import Trajectory
from earwitness.vocabulary.sweep import SweepRanking

NEVER = -1
"""The diverged step of a row that did not diverge."""


@dataclass(frozen=True, eq=False)
class Rows:
    """One entry a seed: `activations` float32, `best_steps` and `diverged_steps` (NEVER where all was finite) [S].

    Rows that were chosen among draws have the `seeds` [S] of these, others those of the sweep (None).
    """

    activations: FloatArray
    best_steps: NDArray[np.int64]
    diverged_steps: NDArray[np.int64]
    seeds: NDArray[np.int64] | None = None

    def encode(self) -> bytes:
        """For the store."""
        arrays: dict[str, NDArray[Any]] = {
            "activations": self.activations,
            "best": self.best_steps,
            "diverged": self.diverged_steps,
        }
        if self.seeds is not None:
            arrays["seeds"] = self.seeds
        return blobs.encode(arrays)

    @classmethod
    def decode(cls, blob: bytes) -> "Rows":
        """Raises: StoreDamaged."""
        arrays = blobs.decode(blob)
        return cls(arrays["activations"], arrays["best"], arrays["diverged"], arrays.get("seeds"))


@dataclass(frozen=True, eq=False)
class Tensors:
    """`latents` [S, Z] of the best iterates and `layer_activations` [S, units] of the objective's layer, float32."""

    latents: FloatArray
    layer_activations: FloatArray

    def encode(self) -> bytes:
        """For the store."""
        return blobs.encode({"latents": self.latents, "layer": self.layer_activations})

    @classmethod
    def decode(cls, blob: bytes) -> "Tensors":
        """Raises: StoreDamaged."""
        arrays = blobs.decode(blob)
        return cls(arrays["latents"], arrays["layer"])


@dataclass(frozen=True, eq=False)
class BlockFindings:
    """What a block has found: which of its K stops are `reached` [K], and the best iterates there: `latents` [K, Z],
    `activations` [K], `best_steps` [K]; `diverged_steps` [rows]."""

    reached: NDArray[np.bool_]
    latents: FloatArray
    activations: FloatArray
    best_steps: NDArray[np.int64]
    diverged_steps: NDArray[np.int64]

    @classmethod
    def of(cls, state: SearchState) -> "BlockFindings":
        """Those of a block's search so far."""
        latents, activations, best_steps = state.kept()
        diverged = [NEVER if step is None else step for step in state.diverged_steps()]
        return cls(state.reached(), latents, activations, best_steps, np.array(diverged, np.int64))


def gather(places: tuple[Place, ...], steps: int, findings: dict[int, BlockFindings]) -> tuple[Rows, FloatArray] | None:
    """The rows of a result of `steps` steps and their latents [S, Z]; None while some of its places are not reached."""
    blocks = [findings.get(place.block) for place in places]
    found = [(block, place) for block, place in zip(blocks, places, strict=True) if block is not None]
    if len(found) < len(places) or not all(block.reached[place.stop] for block, place in found):
        return None
    diverged = np.array([block.diverged_steps[place.row] for block, place in found], np.int64)
    rows = Rows(
        activations=np.array([block.activations[place.stop] for block, place in found], np.float32),
        best_steps=np.array([block.best_steps[place.stop] for block, place in found], np.int64),
        diverged_steps=np.where(diverged <= steps, diverged, NEVER),  # a longer run of the same path may go wrong later
    )
    return rows, np.stack([block.latents[place.stop] for block, place in found])


@dataclass(frozen=True, eq=False)
class Held:
    """What is stored of a sweep: the numbers of the results that are `done`, the rankings, and, of the results that a
    view is of, what is `stored`."""

    done: frozenset[int]
    rankings: Sequence[SweepRanking]
    stored: Mapping[int, StoredResult]


def stored(rows: Rows, latents: FloatArray, layer_activations: FloatArray) -> StoredResult:
    """A result as the store keeps it."""
    return StoredResult(rows.encode(), Tensors(latents, layer_activations).encode())


def outcome(found: Rows, tensors: Tensors, rows: list[int], paths: tuple[Trajectory, ...]) -> Outcome:
    """What a search over these `rows` of a stored result would tell; `paths` are their trajectories, or none."""
    diverged = [int(step) for step in found.diverged_steps[rows]]
    return Outcome(
        stopped_by=StoppedBy.COMPLETED,
        latents=np.array(tensors.latents[rows]),
        activations=found.activations[rows],
        best_steps=found.best_steps[rows],
        trajectories=paths,
        diverged_steps=tuple(None if step == NEVER else step for step in diverged),
        row_step_count=0,
        duration_s=0.0,
    )
