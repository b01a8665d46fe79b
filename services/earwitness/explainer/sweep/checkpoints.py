"""A block's search in the database: its state at the newest checkpoint, its curves in pieces appended at each."""

import asyncio
from collections.abc import Callable

import numpy as np

from earwitness.explainer.plan import Plan
from earwitness.explainer.state import SearchState
from earwitness.explainer.sweep.leases import Lease
from earwitness.explainer.sweep.store import Checkpoint, SweepStore
from earwitness.inference.backend import FloatArray
from earwitness.storage import blobs
from earwitness.vocabulary.search import Trajectory


class BlockState:
    """The search of one block and how much of it is in the database."""

    def __init__(self, number: int, state: SearchState) -> None:
        self.number = number
        self.state = state
        self._saved_step = state.step

    @property
    def row_step_count(self) -> int:
        """Steps done, summed over its rows."""
        return self.state.row_step_count

    @classmethod
    async def open(cls, number: int, plan: Plan, checkpoint: Checkpoint, store: SweepStore, key: int) -> "BlockState":
        """As it was at its checkpoint, or at its first latents. Raises: StoreDamaged, StoreUnavailable."""
        state = SearchState(plan)
        if checkpoint.state is not None:
            pieces = await asyncio.to_thread(store.curves, key, number)
            if pieces:  # else it was saved before its first step
                state.restore(blobs.decode(checkpoint.state), join_curves(pieces))
        return cls(number, state)

    async def save(self, store: SweepStore, lease: Lease) -> None:
        """What came since it was last saved. Raises: LeaseLost, StoreUnavailable; then nothing was saved."""
        step = self.state.step
        if step == self._saved_step:
            return
        curves = self.state.curves(self._saved_step)
        saved, row_steps = self.state.save(), self.state.row_step_count

        def write() -> None:
            piece = blobs.encode({"curves": curves})
            store.checkpoint(lease, self.number, row_steps, blobs.encode(saved), self._saved_step, piece)
            self._saved_step = step

        await to_the_end(write)


async def to_the_end(write: Callable[[], None]) -> None:
    """Run `write` in a thread; it is over when this returns or raises, however often it was cancelled meanwhile."""
    writing = asyncio.ensure_future(asyncio.to_thread(write))
    cancelled: asyncio.CancelledError | None = None
    while not writing.done():
        try:
            await asyncio.wait({writing})
        except asyncio.CancelledError as err:
            cancelled = err
    if cancelled is not None:
        raise cancelled from writing.exception()
    writing.result()


def join_curves(pieces: list[bytes]) -> FloatArray:
    """The curves [3, rows, iterates] of a block's stored pieces, one at least. Raises: StoreDamaged."""
    return np.concatenate([blobs.decode(piece)["curves"] for piece in pieces], axis=2)


def trajectory(curves: FloatArray, row: int, steps: int) -> Trajectory:
    """One row's first `steps` steps of a block's `curves`, to where it stopped."""
    found = curves[:, row, : steps + 1]
    return Trajectory(*found[:, np.isfinite(found).all(axis=0)])
