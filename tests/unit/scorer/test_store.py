"""Every change of the store is whole or not at all, and a retry changes nothing."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import event, text

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import Frozen, collector
from earwitness.scorer.errors import (
    AlreadyFolded,
    EtagMismatch,
    ReferenceExists,
    ReferenceNotFound,
    ShardExists,
    TooFewRows,
    VersionNotFound,
)
from earwitness.scorer.folding import Stop
from earwitness.scorer.freezing import freeze, make
from earwitness.scorer.frozen_layers import layer_body
from earwitness.scorer.references import Reference, Shard
from earwitness.scorer.store import ReferenceStore
from earwitness.storage.database import Database
from earwitness.vocabulary.reference import KeptLayer, Selection
from tests.unit.scorer.fixtures import UNITS, new_reference, rows_of_shard, shard_of

ROOT = Path(__file__).parents[3]
APPENDER = (sys.executable, "-m", "tests.unit.scorer.appender")


class Interrupted(Exception):
    """A statement that never came back."""


def create(store: ReferenceStore, reference_id: str = "r", selection: Selection | None = None) -> Reference:
    return store.create(str(uuid4()), new_reference(reference_id, selection or Selection("all")))


def append(store: ReferenceStore, of: Reference, *indices: int) -> list[bool]:
    return [store.add_shard(of, *shard_of(index, selection=of.content.selection)) for index in indices]


def frozen_mean(store: ReferenceStore, of: Reference, number: int) -> np.ndarray:
    return Frozen.from_body(store.version_frozen(of, number)).gaussian.mean


def expected_mean(*indices: int) -> np.ndarray:
    return np.concatenate([rows_of_shard(index) for index in indices]).mean(axis=0, dtype=np.float64)


def test_created_and_read_back(store: ReferenceStore) -> None:
    new = replace(new_reference(selection=Selection("bottom", 2, 7)), description="ü\nline")
    made = store.create(str(uuid4()), new)
    assert made.content == new
    assert (made.row_count, made.shard_count, made.versions) == (0, 0, ())
    assert abs(made.create_time.timestamp() - time.time()) < 60
    assert store.get("r") == made
    assert store.count() == 1


def test_the_same_request_makes_one_reference(store: ReferenceStore) -> None:
    request_id = str(uuid4())
    made = store.create(request_id, new_reference())
    append(store, made, 0)
    again = store.create(request_id, new_reference())
    assert (again.key, again.row_count) == (made.key, 4)
    for other in (new_reference("other"), new_reference(model="svd-r2")):
        with pytest.raises(InvalidArgument, match="was used for references/r with other contents") as caught:
            store.create(request_id, other)
        assert caught.value.field == "request_id"
    assert store.count() == 1


def test_another_request_for_the_same_name_is_refused(store: ReferenceStore) -> None:
    create(store)
    with pytest.raises(ReferenceExists):
        create(store)


def test_lists_in_the_order_of_names(store: ReferenceStore) -> None:
    names = ["b", "a-1", "a1", "a", "zz"]
    for index, name in enumerate(names):
        store.create(str(uuid4()), new_reference(name, model=f"m{index % 2}"))
    assert [each.reference_id for each in store.list("", "", 10)] == sorted(names)
    assert [each.reference_id for each in store.list("", "a", 2)] == ["a-1", "a1"]
    assert [each.reference_id for each in store.list("m1", "", 10)] == ["a", "a-1"]
    assert store.list("m9", "", 10) == []


def test_lists_carry_counts_and_versions(store: ReferenceStore) -> None:
    first, second = create(store, "first"), create(store, "second")
    append(store, first, 0, 1)
    freeze(store, "first", "")
    append(store, second, 0)
    listed = store.list("", "", 10)
    assert listed == [store.get("first"), store.get("second")]
    assert [(each.row_count, each.shard_count, len(each.versions)) for each in listed] == [(8, 2, 1), (4, 1, 0)]


def test_a_shard_counts_once(store: ReferenceStore) -> None:
    reference = create(store)
    assert append(store, reference, 0, 1, 0, 1) == [True, True, False, False]
    assert store.get("r").row_count == 8
    freeze(store, "r", "")
    assert append(store, reference, 0) == [False]
    assert store.has_shard(reference, shard_of(0)[0])
    assert not store.has_shard(reference, shard_of(2)[0])


def test_a_key_that_another_server_drew_is_drawn_again(store: ReferenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = create(store)
    keys = iter([7, 7, 8])
    monkeypatch.setattr("earwitness.scorer.store.new_key", lambda: next(keys))
    assert append(store, reference, 0, 1) == [True, True]
    assert store.get("r").shard_count == 2


def test_what_was_lost_is_not_folded_into_another(store: ReferenceStore, database: Database) -> None:
    """As where the store is restored while a freeze goes on: of its shards one is not there any more."""
    reference = create(store)
    append(store, reference, 0, 1)
    plan = store.plan_freeze("r", "")
    with database.writing() as connection:
        connection.execute(text("DELETE FROM segment WHERE shard_id = 'shard 1'"))
    with pytest.raises(AlreadyFolded):
        make(store, plan, "", Stop())
    assert store.get("r").versions == ()
    assert freeze(store, "r", "").row_count == 4


def test_large_shards_and_pages_of_small_ones(store: ReferenceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = create(store)
    append(store, reference, *range(30))
    monkeypatch.setattr("earwitness.scorer.plan.AT_ONCE", 4)
    for limit in (1, 500):  # each by itself, in pieces; a few together
        monkeypatch.setattr("earwitness.scorer.plan.BYTES_AT_ONCE", limit)
        monkeypatch.setattr("earwitness.scorer.store.BYTES_AT_ONCE", limit)
        monkeypatch.setattr("earwitness.scorer.freezing._PIECE_BYTES", 50)
        freeze(store, "r", "")
        append(store, reference, *range(30, 40))
    last = freeze(store, "r", "")
    np.testing.assert_allclose(frozen_mean(store, reference, last.number), expected_mean(*range(40)), rtol=1e-12)


def test_a_shard_id_with_other_contents_is_refused(store: ReferenceStore) -> None:
    reference = create(store)
    append(store, reference, 0)
    shard, body = shard_of(0)
    for other in (replace(shard, sha256="0" * 64), replace(shard, row_count=3)):
        with pytest.raises(ShardExists, match="shard 0"):
            store.add_shard(reference, other, body)
        with pytest.raises(ShardExists):
            store.has_shard(reference, other)
    assert store.get("r").row_count == 4


def test_two_references_may_have_the_same_shard_ids(store: ReferenceStore) -> None:
    assert append(store, create(store, "a"), 0) == append(store, create(store, "b"), 0) == [True]


def test_deleting_takes_everything_and_frees_the_name(store: ReferenceStore, database: Database) -> None:
    reference = create(store)
    append(store, reference, 0, 1)
    freeze(store, "r", "")
    with pytest.raises(EtagMismatch):
        store.delete("r", reference.etag)
    store.delete("r", store.get("r").etag)
    with database.reading() as connection:
        for table in ("reference", "segment", "version"):
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0
    for fails in (
        lambda: store.get("r"),
        lambda: store.delete("r", ""),
        lambda: append(store, reference, 2),
        lambda: freeze(store, "r", ""),
    ):
        with pytest.raises(ReferenceNotFound):
            fails()
    with pytest.raises(VersionNotFound):
        store.version_frozen(reference, 1)
    again = create(store)
    assert again.key > reference.key
    assert again.etag != reference.etag


def test_a_selection_needs_as_many_rows_as_it_keeps(store: ReferenceStore) -> None:
    reference = create(store, selection=Selection("top", 1, 12))
    append(store, reference, 0)
    append(store, reference, 1)
    said = r"has 8 rows, a version needs at least 12 to select its top 12 from; append more, or make another"
    with pytest.raises(TooFewRows, match=said):
        freeze(store, "r", "")
    append(store, reference, 2)
    assert freeze(store, "r", "").selected_count == 12, "what was there is counted"


def test_freezing(store: ReferenceStore, database: Database) -> None:
    reference = create(store)
    with pytest.raises(TooFewRows, match="has 0 rows"):
        freeze(store, "r", "")
    append(store, reference, 0, 1)
    first = freeze(store, "r", store.get("r").etag)
    assert (first.number, first.row_count, first.selected_count, first.unit_minimum) == (1, 8, 8, None)
    assert freeze(store, "r", "") == first, "nothing new, no new version"
    append(store, reference, 2)
    second = freeze(store, "r", "")
    assert (second.number, second.row_count) == (2, 12)
    assert store.get("r").versions == (first, second)
    np.testing.assert_allclose(frozen_mean(store, reference, 1), expected_mean(0, 1), rtol=1e-12)
    np.testing.assert_allclose(frozen_mean(store, reference, 2), expected_mean(0, 1, 2), rtol=1e-12)
    with database.reading() as connection:
        lineage = connection.execute(text("SELECT shard_id, version, body FROM segment ORDER BY shard_id")).all()
    assert [tuple(row) for row in lineage] == [("shard 0", 1, None), ("shard 1", 1, None), ("shard 2", 2, None)]


def test_freezing_an_extreme_selection_over_versions(store: ReferenceStore) -> None:
    selection = Selection("top", 1, 3)
    reference = create(store, selection=selection)
    append(store, reference, 0, 1)
    freeze(store, "r", "")
    append(store, reference, 2, 3)
    version = freeze(store, "r", "")
    rows = np.concatenate([rows_of_shard(index) for index in range(4)])
    best = rows[np.argsort(-rows[:, 1])[:3]]
    assert (version.row_count, version.selected_count) == (16, 3)
    assert (version.unit_minimum, version.unit_maximum) == (best[:, 1].min(), best[:, 1].max())
    np.testing.assert_allclose(frozen_mean(store, reference, 2), best.mean(axis=0, dtype=float), rtol=1e-12)


def test_a_stale_etag_stops_a_freeze_before_and_after_the_work(store: ReferenceStore) -> None:
    reference = create(store)
    append(store, reference, 0)
    with pytest.raises(EtagMismatch):
        freeze(store, "r", reference.etag)
    etag = store.get("r").etag
    plan = store.plan_freeze("r", etag)
    version = freeze(store, "r", "")
    with pytest.raises(EtagMismatch):
        store.add_version(plan, etag, version, b"", b"")
    with pytest.raises(AlreadyFolded):  # the other freeze won; nothing was written
        store.add_version(plan, "", version, b"", b"")
    assert store.get("r").versions == (version,)


def test_freezes_at_once_make_one_version(store: ReferenceStore) -> None:
    append(store, create(store), *range(6))
    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(lambda _: freeze(store, "r", ""), range(6)))
    assert {version.number for version in versions} == {1}
    assert len(store.get("r").versions) == 1


def test_appends_and_freezes_at_once_count_everything_once(store: ReferenceStore) -> None:
    reference = create(store)
    append(store, reference, 0)
    with ThreadPoolExecutor(8) as pool:
        added = [pool.submit(append, store, reference, index % 20) for index in range(60)]
        frozen = [pool.submit(freeze, store, "r", "") for _ in range(6)]
        new = sum(future.result()[0] for future in added)
        for future in frozen:
            future.result()
    last = freeze(store, "r", "")
    assert new == 19
    assert (store.get("r").row_count, last.row_count) == (80, 80)
    np.testing.assert_allclose(frozen_mean(store, reference, last.number), expected_mean(*range(20)), rtol=1e-10)


@pytest.mark.parametrize("operation", ["create", "append", "freeze", "delete"])
def test_an_interruption_between_any_statements_leaves_the_state_before(
    store: ReferenceStore, database: Database, operation: str
) -> None:
    """Fails at the first statement, then at the second, ..., until the operation gets through: then it is whole."""
    reference = create(store)
    append(store, reference, 0, 1)
    freeze(store, "r", "")
    append(store, reference, 2)
    calls = {
        "create": lambda: create(store, "new"),
        "append": lambda: append(store, reference, 3),
        "freeze": lambda: freeze(store, "r", ""),
        "delete": lambda: store.delete("r", ""),
    }
    before = store.list("", "", 10)
    remaining = 0

    def interrupt(*arguments: object) -> None:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise Interrupted

    event.listen(database.engine, "after_cursor_execute", interrupt)
    try:
        for allowed in range(100):
            remaining = allowed
            try:
                calls[operation]()
                break
            except Interrupted:
                remaining = 10**6
                assert store.list("", "", 10) == before
    finally:
        event.remove(database.engine, "after_cursor_execute", interrupt)
    assert allowed >= 1
    assert store.list("", "", 10) != before


def test_killed_appenders_lose_nothing_acknowledged_and_count_nothing_twice(
    store: ReferenceStore, database_url: str
) -> None:
    """SIGKILL at any moment, again and again; every process starts over with all shards."""
    reference = create(store)
    total, acknowledged = 60, set()
    command = [*APPENDER, database_url]
    generator = np.random.default_rng(0)
    for _ in range(3):
        with subprocess.Popen([*command, str(total)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(int(generator.integers(3, 40)))]
            time.sleep(float(generator.uniform(0, 0.01)))
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        acknowledged |= {int(line) for line in lines if line.endswith("\n")}
        counted = store.get("r")
        assert counted.row_count == 4 * counted.shard_count
        assert all(store.has_shard(reference, shard_of(index)[0]) for index in acknowledged)
        assert len(acknowledged) <= counted.shard_count <= len(acknowledged) + 4
    subprocess.run([*command, str(total)], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    version = freeze(store, "r", "")
    assert version.row_count == 4 * total
    np.testing.assert_allclose(frozen_mean(store, reference, version.number), expected_mean(*range(total)), rtol=1e-10)


def test_processes_append_to_one_reference_at_once(store: ReferenceStore, database_url: str) -> None:
    create(store)
    processes = [subprocess.Popen([*APPENDER, database_url, "40"], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [len(output.split()) for output in outputs] == [40, 40, 40]
    assert store.get("r").row_count == 160


def test_kept_layers_are_stored_and_each_is_frozen_by_itself(store: ReferenceStore) -> None:
    kept = (KeptLayer("ü", 1), KeptLayer("fc9", UNITS), KeptLayer("fc10", 2))
    new = replace(new_reference(selection=Selection("bottom", 1, 5)), kept_layers=kept)
    request_id = str(uuid4())
    made = store.create(request_id, new)
    assert store.create(request_id, new) == store.get("r") == made
    assert made.content == new
    with pytest.raises(InvalidArgument, match="with other contents"):
        store.create(request_id, replace(new, kept_layers=()))
    rows = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    for index, part in enumerate(np.split(rows, 4)):
        one = collector(new.layout.in_rows(new.selection), 6)
        one.add_rows(part, str(index), 0)
        assert store.add_shard(made, Shard(str(index), 10, f"{index}" * 64), one.body())
    version = freeze(store, "r", "")
    chosen = rows[np.argsort(rows[:, 2])[:5]]
    assert (version.unit_minimum, version.unit_maximum) == (chosen[:, 2].min(), chosen[:, 2].max())
    frozen = store.version_frozen(made, 1)
    for layer in range(3):
        mean = Frozen.from_body(layer_body(frozen, layer)).gaussian.mean
        np.testing.assert_allclose(mean, chosen[:, new.layout.columns(layer)].mean(axis=0), atol=1e-6)
