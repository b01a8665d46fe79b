"""Which rows of a reference count: all of them, or the k where one unit is highest or lowest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earwitness.vocabulary.reference import Selection

MIN_SELECTED = 2
MAX_SELECTED = 10_000


@dataclass(frozen=True)
class SelectedRows:
    """The most extreme rows seen so far, most extreme first, and where they came from.

    `rows` is [S, D] float32 or float64, S at most k; `shard_ids` has S entries; `row_indices` is [S] int64, the row
    within its shard. Selecting from shards one by one and merging gives what sorting all rows at once would give.
    """

    rows: NDArray[np.float32] | NDArray[np.float64]
    shard_ids: tuple[str, ...]
    row_indices: NDArray[np.int64]


def select(
    rows: NDArray[np.float32] | NDArray[np.float64], selection: Selection, shard_id: str, first_row: int = 0
) -> SelectedRows:
    """The extreme rows of `rows` [N, D], which begin at row `first_row` of shard `shard_id`."""
    keys = sort_keys(rows, selection)
    candidates = np.arange(len(rows), dtype=np.int64)
    if len(rows) > selection.count:
        candidates = np.flatnonzero(keys <= np.partition(keys, selection.count - 1)[selection.count - 1])
    order = candidates[np.argsort(keys[candidates], kind="stable")[: selection.count]]
    return SelectedRows(rows[order], (shard_id,) * len(order), order + first_row)


def merge(parts: Sequence[SelectedRows], selection: Selection) -> SelectedRows:
    """The extreme rows among those of all `parts`; ties go to the lower shard id, then to the lower row."""
    rows = np.concatenate([part.rows for part in parts])
    row_indices = np.concatenate([part.row_indices for part in parts])
    shard_ids = [shard_id for part in parts for shard_id in part.shard_ids]
    order = np.lexsort((row_indices, np.array(shard_ids, dtype=np.str_), sort_keys(rows, selection)))[: selection.count]
    return SelectedRows(rows[order], tuple(shard_ids[index] for index in order), row_indices[order])


def sort_keys(rows: NDArray[np.floating], selection: Selection) -> NDArray[np.floating]:
    """[N] sort key of each of `rows` [N, D]: the most extreme has the lowest."""
    values: NDArray[np.floating] = rows[:, selection.column]
    return -values if selection.kind == "top" else values
