"""References and shards for tests of the store."""

import hashlib

import numpy as np

from earwitness.scorer.collect import collector
from earwitness.scorer.references import NewReference, Shard, Source
from earwitness.vocabulary.reference import ALL, Selection

UNITS = 3


def new_reference(reference_id: str = "r", selection: Selection = ALL, model: str = "svd-r1") -> NewReference:
    return NewReference(reference_id, Source(model, "ab" * 32, "fc9", UNITS), "log-mel-80@1", selection, "")


def rows_of_shard(index: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng(index).standard_normal((count, UNITS)).astype(np.float32)


def shard_of(index: int, count: int = 4, selection: Selection = ALL) -> tuple[Shard, bytes]:
    """A shard and the body that it leaves; always the same for an index."""
    rows = rows_of_shard(index, count)
    collected = collector(selection, UNITS)
    shard = Shard(f"shard {index}", count, hashlib.sha256(rows.tobytes()).hexdigest())
    collected.add_rows(rows, shard.shard_id, 0)
    return shard, collected.body()
