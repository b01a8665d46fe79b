"""Of rows that hold several layers each layer is frozen as if it were alone, here and in a process of its own."""

from collections.abc import Iterable

import numpy as np
import pytest

from earwitness.scorer.collect import Frozen, collector
from earwitness.scorer.folding import Body, Folding, Stop, fold_apart, fold_here
from earwitness.scorer.frechet import frechet_distance
from earwitness.scorer.frozen_layers import joined_body, layer_body
from earwitness.scorer.layers import Layout
from earwitness.storage import blobs
from earwitness.storage.errors import StoreDamaged
from earwitness.vocabulary.reference import ALL, KeptLayer, Selection

LAYOUT = Layout((KeptLayer("conv1", 3), KeptLayer("fc2", 5), KeptLayer("fc3", 2)), own=1)
SELECTIONS = [ALL, Selection("top", 2, 12), Selection("bottom", 0, 40)]
Shards = dict[str, np.ndarray]


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    """Layers of very different scales."""
    scales = np.array([1e4] * 3 + [1] * 5 + [1e-4] * 2)
    return (np.random.default_rng(seed).standard_normal((count, LAYOUT.width)) * scales).astype(np.float32)


def bodies(shards: Shards, selection: Selection, width: int) -> Iterable[Body]:
    for shard_id, rows in shards.items():
        one = collector(selection, width)
        one.add_rows(rows, shard_id, 0)
        yield len(one.body()), (one.body(),)


def folded(shards: Shards, selection: Selection, layout: Layout) -> Folding:
    return fold_here(selection, layout, bodies(shards, layout.in_rows(selection), layout.width), Stop())


def alone(layer: int) -> Layout:
    return Layout((LAYOUT.layers[layer],))


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("count", [60, 8])
def test_the_layer_that_is_selected_by_is_frozen_as_in_a_reference_of_its_own(selection: Selection, count: int) -> None:
    shards = {"a": rows_of(count), "b": rows_of(20, seed=1)}
    whole = folded(shards, selection, LAYOUT)
    own = folded({name: rows[:, LAYOUT.columns(1)].copy() for name, rows in shards.items()}, selection, alone(1))
    assert (whole.unit_minimum, whole.unit_maximum) == (own.unit_minimum, own.unit_maximum)
    assert whole.selected_count == own.selected_count
    batch = rows_of(30, seed=2)[:, LAYOUT.columns(1)] * 1.3
    found, expected = (
        frechet_distance(batch, Frozen.from_body(layer_body(each, index)).gaussian)
        for each, index in ((whole.frozen, 1), (own.frozen, 0))
    )
    assert found.distance == pytest.approx(expected.distance, rel=1e-9)
    if selection != ALL:
        assert layer_body(whole.frozen, 1) == own.frozen


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_other_layers_are_those_of_the_same_rows(selection: Selection) -> None:
    rows = rows_of(60)
    whole = folded({"a": rows[:25], "b": rows[25:]}, selection, LAYOUT)
    keys = rows[:, 3 + selection.column] * (-1 if selection.kind == "top" else 1)
    chosen = rows if selection == ALL else rows[np.argsort(keys)[: selection.k]]
    for layer in range(3):
        columns = LAYOUT.columns(layer)
        frozen = Frozen.from_body(layer_body(whole.frozen, layer))
        plain = folded({"a": chosen[:, columns].copy()}, ALL, alone(layer))
        batch = rows_of(30, seed=2)[:, columns] * 1.3
        expected = frechet_distance(batch, Frozen.from_body(plain.frozen).gaussian)
        assert frechet_distance(batch, frozen.gaussian).distance == pytest.approx(expected.distance, rel=1e-9)
        np.testing.assert_array_equal(frozen.minimum, chosen[:, columns].min(axis=0))
    kept = blobs.decode(whole.state).get("rows")
    if selection != ALL:
        np.testing.assert_array_equal(kept, chosen)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_process_of_its_own_makes_the_same(selection: Selection) -> None:
    shards = {"a": rows_of(60), "b": rows_of(20, seed=1)}
    made = bodies(shards, LAYOUT.in_rows(selection), LAYOUT.width)
    assert fold_apart("r", selection, LAYOUT, made, Stop()) == folded(shards, selection, LAYOUT)


@pytest.mark.parametrize("selection", SELECTIONS[1:])
def test_any_split_and_order_of_shards_makes_the_same_bytes(selection: Selection) -> None:
    rows = rows_of(90)
    expected = folded({"rows": rows}, selection, LAYOUT)
    for cuts in ([7, 30], [1, 2, 60], [45]):
        parts = np.split(rows, cuts)
        shards = {f"shard {index}": part for index, part in enumerate(parts)}
        for order in (shards, dict(reversed(shards.items()))):
            found = folded(order, selection, LAYOUT)
            assert found.frozen == expected.frozen
            np.testing.assert_array_equal(blobs.decode(found.state)["rows"], blobs.decode(expected.state)["rows"])
            # And what one fold left goes into the next as a shard does.
            later = fold_here(selection, LAYOUT, [(len(found.state), (found.state,))], Stop())
            assert later == found


def test_one_layer_is_stored_as_it_always_was() -> None:
    whole = folded({"a": rows_of(20)}, ALL, Layout.of("l", LAYOUT.width))
    one = collector(ALL, LAYOUT.width)
    one.add_rows(rows_of(20), "a", 0)
    assert whole.frozen == one.frozen().to_body()
    assert layer_body(whole.frozen, 0) == whole.frozen


def test_damage_is_noticed() -> None:
    joined = joined_body([blobs.encode({"a": np.arange(3)}), blobs.encode({"a": np.arange(4)})])
    blobs.require_sound(joined)
    assert blobs.decode(layer_body(joined, 1))["a"].tolist() == [0, 1, 2, 3]
    for at in range(0, len(joined), 8):
        changed = bytearray(joined)
        changed[at] ^= 1
        with pytest.raises(StoreDamaged):
            blobs.require_sound(bytes(changed))
    with pytest.raises(StoreDamaged):
        layer_body(b"", 0)
