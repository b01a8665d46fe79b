"""The draws of a sweep: one block of its own, whose checkpoint is the pool."""

import numpy as np

from earwitness.explainer.draws import Pool, latents_of
from earwitness.explainer.sweep.checkpoints import to_the_end
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.leases import Lease
from earwitness.explainer.sweep.results import NEVER, Rows
from earwitness.explainer.sweep.store import Checkpoint, SweepStore
from earwitness.inference.backend import FloatArray
from earwitness.storage import blobs


class PoolBlock:
    """All draws of a sweep and how many of them are in the database."""

    def __init__(self, layout: Layout, latent_size: int, checkpoint: Checkpoint) -> None:
        """As it was at its checkpoint, or with nothing drawn. Raises: StoreDamaged."""
        self.number = layout.pool_block
        self.pool = Pool(layout.wanted, layout.plan.first_seed, latent_size)
        self._latent_size = latent_size
        if checkpoint.state is not None:
            self.pool.restore(blobs.decode(checkpoint.state))
        self._saved = self.pool.drawn

    @property
    def row_step_count(self) -> int:
        """Draws that are classified: each counts as a step."""
        return self.pool.drawn

    async def save(self, store: SweepStore, lease: Lease) -> None:
        """What came since it was last saved. Raises: LeaseLost, StoreUnavailable; then nothing was saved."""
        drawn, saved = self.pool.drawn, self.pool.save()
        if drawn == self._saved:
            return
        await to_the_end(lambda: store.checkpoint(lease, self.number, drawn, blobs.encode(saved), 0, b""))
        self._saved = drawn

    def rows(self, index: int) -> tuple[Rows, FloatArray]:
        """The rows of the result that wants number `index`, once all is drawn, and their latents [S, Z]."""
        seeds, activations = self.pool.found(index)
        steps = np.zeros(len(seeds), np.int64)
        return Rows(activations, steps, np.full_like(steps, NEVER), seeds), latents_of(seeds, self._latent_size)
