"""Selecting shard by shard and merging is sorting all rows at once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.scorer.selection import SelectedRows, merge, select
from earwitness.vocabulary.reference import Selection


def sorted_at_once(shards: dict[str, np.ndarray], selection: Selection) -> list[tuple[str, int]]:
    """Shard and row of what counts, by Python's own sort."""
    sign = -1 if selection.kind == "top" else 1
    keys = [
        (sign * float(row[selection.unit]), shard_id, index)
        for shard_id, rows in shards.items()
        for index, row in enumerate(rows)
    ]
    return [(shard_id, index) for _, shard_id, index in sorted(keys)[: selection.k]]


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=5),
    kind=st.sampled_from(["top", "bottom"]),
    k=st.integers(2, 40),
    distinct=st.sampled_from([1, 2, 3, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_merging_is_a_global_sort(sizes: list[int], kind: str, k: int, distinct: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    selection = Selection(kind, 1, k)  # type: ignore[arg-type]
    shards = {
        f"shard {index}": generator.integers(0, distinct, (size, 3)).astype(np.float32)
        for index, size in enumerate(sizes)
    }
    parts: list[SelectedRows] = []
    for shard_id, rows in shards.items():
        cuts = sorted(generator.integers(0, len(rows) + 1, 2))
        for start, end in pairwise([0, *cuts, len(rows)]):
            parts.append(select(rows[start:end], selection, shard_id, start))
    generator.shuffle(parts)
    if len(parts) > 2:  # in two stages
        parts = [merge(parts[:2], selection), *parts[2:]]
    merged = merge(parts, selection)
    expected = sorted_at_once(shards, selection)
    assert list(zip(merged.shard_ids, merged.row_indices.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(merged.rows, np.stack([shards[shard_id][row] for shard_id, row in expected]))
    assert merged.rows.dtype == np.float32


@pytest.mark.parametrize("kind", ["top", "bottom"])
def test_ties_at_the_edge_go_to_the_first_shard_and_row(kind: str) -> None:
    selection = Selection(kind, 0, 3)  # type: ignore[arg-type]
    rows = np.zeros((4, 1), dtype=np.float32)
    merged = merge([select(rows, selection, "b"), select(rows[:2], selection, "a")], selection)
    assert merged.shard_ids == ("a", "a", "b")
    assert merged.row_indices.tolist() == [0, 1, 0]


def test_the_selected_rows_are_a_copy() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    chosen = select(rows, Selection("top", 0, 2), "s")
    rows[:] = -1
    assert chosen.rows.tolist() == [[4.0, 5.0], [2.0, 3.0]]
