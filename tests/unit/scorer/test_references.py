"""What is allowed in a reference, and what tells its states and sources apart."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from earwitness.errors import InvalidArgument
from earwitness.scorer.errors import EtagMismatch, ReferenceMismatch, VersionNotFound
from earwitness.scorer.references import (
    MAX_PARTIAL_ROWS,
    NewReference,
    Reference,
    Shard,
    Source,
    Version,
    require_new_reference,
    require_shard,
)
from earwitness.vocabulary.limits import MAX_SHARD_ROWS
from earwitness.vocabulary.reference import ALL, KeptLayer, Selection

SOURCE = Source("svd-r1", "ab" * 32, "fc9", 64)
NEW = NewReference("top-50", SOURCE, "log-mel-80@1", Selection("top", 63, 50), "real songs\nof 2026")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REFERENCE = Reference(1, NEW, 100, 2, 7, (Version(1, 60, 50, NOW, 0.0, 1.0),), NOW)


def test_what_is_right_passes() -> None:
    require_new_reference(NEW)
    require_new_reference(replace(NEW, selection=ALL, description=""))
    require_shard(Shard("part 7/9 ü", 1_000_000, "0" * 64), MAX_SHARD_ROWS)
    require_shard(Shard("s", 10**12, "0" * 64), MAX_PARTIAL_ROWS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reference_id": "Top"}, "reference_id"),
        ({"reference_id": "a" * 64}, "reference_id"),
        ({"source": replace(SOURCE, weights_sha256="AB" * 32)}, "reference.weights_sha256"),
        ({"source": replace(SOURCE, layer="")}, "reference.layer"),
        ({"source": replace(SOURCE, layer="a\nb")}, "reference.layer"),
        ({"source": replace(SOURCE, unit_count=0)}, "reference.unit_count"),
        ({"source": replace(SOURCE, unit_count=4097)}, "reference.unit_count"),
        ({"feature_profile": ""}, "reference.feature_profile"),
        ({"description": "x" * 1001}, "reference.description"),
        ({"selection": Selection("top", 64, 50)}, "reference.selection.top.unit"),
        ({"selection": Selection("bottom", -1, 50)}, "reference.selection.bottom.unit"),
        ({"selection": Selection("bottom", 0, 1)}, "reference.selection.bottom.k"),
        ({"selection": Selection("top", 0, 10_001)}, "reference.selection.top.k"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        require_new_reference(replace(NEW, **changes))  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("kept", "field", "words"),
    [
        ((("fc9", 64), ("", 3)), "reference.kept_layers[1].name", "has 0 characters; must have 1 to 200"),
        ((("a\nb", 3), ("fc9", 64)), "reference.kept_layers[0].name", "on one line"),
        ((("fc8", 0), ("fc9", 64)), "reference.kept_layers[0].unit_count", "at least 1"),
        ((("fc8", 4097), ("fc9", 64)), "reference.kept_layers[0].unit_count", "at most 4096"),
        ((("fc9", 64), ("fc8", 3), ("fc9", 64)), "reference.kept_layers[2].name", "'fc9' once more"),
        ((("fc7", 3), ("fc8", 3)), "reference.kept_layers", "are fc7, fc8; the reference's layer, fc9, must be one"),
        ((("fc9", 63), ("fc8", 3)), "reference.kept_layers", "give fc9 63 units, reference.unit_count says 64"),
        ((("fc9", 64), ("fc8", 4033)), "reference.kept_layers", "have 4097 units together; at most 4096"),
    ],
)
def test_a_wrong_kept_layer_is_named(kept: tuple[tuple[str, int], ...], field: str, words: str) -> None:
    layers = tuple(KeptLayer(*each) for each in kept)
    with pytest.raises(InvalidArgument, match=re.escape(words)) as caught:
        require_new_reference(replace(NEW, kept_layers=layers))
    assert caught.value.field == field


def test_layers_make_a_row_in_their_order() -> None:
    new = replace(NEW, kept_layers=(KeptLayer("conv1", 16), KeptLayer("fc9", 64), KeptLayer("fc10", 4016)))
    require_new_reference(new)
    layout = new.layout
    assert (layout.width, layout.names, layout.own) == (4096, ("conv1", "fc9", "fc10"), 1)
    assert [layout.columns(index) for index in range(3)] == [slice(0, 16), slice(16, 80), slice(80, 4096)]
    assert layout.in_rows(new.selection) == Selection("top", 79, 50)
    assert [layout.words(column) for column in (15, 16, 79, 80)] == [
        "unit 15 of conv1", "unit 0 of fc9", "unit 63 of fc9", "unit 0 of fc10",
    ]  # fmt: skip
    assert (NEW.layout.width, NEW.layout.in_rows(NEW.selection), NEW.layout.words(3)) == (64, NEW.selection, "unit 3")
    assert layout.places((), "layers") == (0, 1, 2)
    assert layout.places(("fc10", "conv1"), "layers") == (2, 0)
    for names, field, words in (
        (("fc9", "pool"), "layers[1]", "keeps conv1, fc9, fc10"),
        (("fc9", "fc9"), "layers[1]", "once"),
    ):
        with pytest.raises(InvalidArgument, match=words) as caught:
            layout.places(names, "layers")
        assert caught.value.field == field


def test_a_batch_may_hold_all_kept_layers() -> None:
    deep = replace(REFERENCE, content=replace(NEW, kept_layers=(KeptLayer("conv1", 16), KeptLayer("fc9", 64))))
    for unit_count in (64, 80):
        deep.require_source(replace(SOURCE, unit_count=unit_count), None)
        deep.require_source(replace(SOURCE, unit_count=unit_count), 63)
    deep.require_source(replace(SOURCE, unit_count=1), 63)
    with pytest.raises(ReferenceMismatch, match=r"unit_count .* is 16, that of .* is 64, or 80 of all layers"):
        deep.require_source(replace(SOURCE, unit_count=16), None)
    with pytest.raises(InvalidArgument, match="unit"):
        deep.require_source(replace(SOURCE, unit_count=80), 64)
    deep.require_whole_rows("svd-r1", "ab" * 32, 80)
    for field, given in (("model", ("svd-r2", "ab" * 32, 80)), ("weights_sha256", ("svd-r1", "cd" * 32, 80)),
                         ("unit_count", ("svd-r1", "ab" * 32, 64))):  # fmt: skip
        with pytest.raises(ReferenceMismatch) as caught:
            deep.require_whole_rows(*given)
        assert caught.value.metadata["field"] == field


@pytest.mark.parametrize(
    ("shard", "field"),
    [
        (Shard("", 1, "0" * 64), "header.shard_id"),
        (Shard("a\tb", 1, "0" * 64), "header.shard_id"),
        (Shard("a" * 201, 1, "0" * 64), "header.shard_id"),
        (Shard("a", 0, "0" * 64), "header.row_count"),
        (Shard("a", 1_000_001, "0" * 64), "header.row_count"),
        (Shard("a", 1, "0" * 63), "header.sha256"),
    ],
)
def test_a_wrong_field_of_a_shard_is_named(shard: Shard, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        require_shard(shard, MAX_SHARD_ROWS)
    assert caught.value.field == field


def test_every_state_has_its_own_etag() -> None:
    states = [
        REFERENCE,
        replace(REFERENCE, key=2),
        replace(REFERENCE, shard_count=3),
        replace(REFERENCE, last_shard=8),  # as many shards, but others, as a restored store may come to have
        replace(REFERENCE, versions=(replace(REFERENCE.versions[0], create_time=NOW + timedelta(microseconds=1)),)),
        replace(REFERENCE, versions=()),
    ]
    assert len({state.etag for state in states}) == len(states)
    assert replace(REFERENCE).etag == REFERENCE.etag
    assert REFERENCE.etag.startswith('"')
    assert REFERENCE.etag.endswith('"')


def test_a_stale_etag() -> None:
    REFERENCE.require_etag("")
    REFERENCE.require_etag(REFERENCE.etag)
    with pytest.raises(EtagMismatch, match="is stale"):
        REFERENCE.require_etag('"other"')


@pytest.mark.parametrize(
    ("batch", "field", "both"),
    [
        (replace(SOURCE, model="svd-r2"), "model", ("models/svd-r2", "models/svd-r1")),
        (replace(SOURCE, weights_sha256="cd" * 32), "weights_sha256", ("cd" * 32, "ab" * 32)),
        (replace(SOURCE, layer="fc8"), "layer", ("fc8", "fc9")),
        (replace(SOURCE, unit_count=63), "unit_count", ("63", "64")),
        (replace(SOURCE, unit_count=1), "unit_count", ("1", "64")),
    ],
)
def test_another_source_is_a_mismatch_that_names_both_sides(batch: Source, field: str, both: tuple[str, str]) -> None:
    REFERENCE.require_source(SOURCE, None)
    with pytest.raises(ReferenceMismatch) as caught:
        REFERENCE.require_source(batch, None)
    assert caught.value.metadata == {"field": field, "batch": both[0], "reference": both[1]}
    assert all(side in caught.value.message for side in both)


@pytest.mark.parametrize("unit_count", [1, 64])
def test_the_compared_unit_may_come_alone(unit_count: int) -> None:
    batch = replace(SOURCE, unit_count=unit_count)
    REFERENCE.require_source(batch, 63)
    for beyond in (-1, 64):
        with pytest.raises(InvalidArgument) as refused:
            REFERENCE.require_source(batch, beyond)
        assert refused.value.field == "unit"
    for other in (replace(batch, layer="fc8"), replace(batch, unit_count=2)):
        with pytest.raises(ReferenceMismatch):
            REFERENCE.require_source(other, 63)


@pytest.mark.parametrize("number", [0, 2, 10**17])
def test_a_version_that_is_not_there(number: int) -> None:
    assert REFERENCE.version(1).number == 1
    with pytest.raises(VersionNotFound, match="its newest version is 1"):
        REFERENCE.version(number)
