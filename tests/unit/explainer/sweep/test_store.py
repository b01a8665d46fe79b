"""The store of sweeps: one holder at a time, every change whole, and nothing counted twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import LeaseLost, SweepNotFound, SweepNotOver, SweepNotResumable, TooManySweeps
from earwitness.explainer.sweep.migration import SCHEMA
from earwitness.explainer.sweep.record import Failure, NewSweep, Progress, State
from earwitness.explainer.sweep.schema import metadata
from earwitness.explainer.sweep.store import Checkpoint, StoredResult, SweepStore
from earwitness.explainer.sweep.stored import plan_of
from earwitness.scorer.migration import SCHEMA as SCORER_SCHEMA
from earwitness.storage import blobs
from earwitness.storage.database import Database
from earwitness.storage.errors import SchemaOutdated
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.sweep import PAPER_GRID, SweepObjective, SweepPlan, SweepRanking

FOREVER, GONE = 3600.0, -1.0
PLAN = SweepPlan("tiny", (SweepObjective(Objective("fc3", 0), "references/r"),), PAPER_GRID, 3, 2)


def blob(text: str) -> bytes:
    """What a sweep stores, told from others by its text."""
    return blobs.encode({"text": np.frombuffer(text.encode(), np.uint8)})


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    SCHEMA.migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> SweepStore:
    return SweepStore(database)


def new(sweep_id: str = "s1", model: str = "tiny", resumed_from: str = "") -> NewSweep:
    return NewSweep(sweep_id, str(uuid4()), PLAN, model, "ab" * 32, 8, 2, 100, 3, resumed_from=resumed_from)


def ranking(words: str) -> SweepRanking:
    """One of the first objective, told from others by its words."""
    return SweepRanking(0, "", (), words)


def test_migrations_make_the_schema(database: Database) -> None:
    with database.reading() as connection:
        opts = {"compare_type": True, "render_as_batch": True, "version_table": SCHEMA.version_table}
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []


def test_sweeps_of_the_schema_before_are_kept(database: Database, store: SweepStore) -> None:
    traced = replace(new(), traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    assert store.create(traced, 1).traceparent == store.get("s1").traceparent == traced.traceparent
    config = SCHEMA._config()
    with database.writing() as connection:
        config.attributes.update(connection=connection, version_table=SCHEMA.version_table)
        command.downgrade(config, "0001")
    SCHEMA.migrate(database)
    assert store.get("s1").traceparent == "", "it has none, and is there"


def test_what_targets_are_of_stays_with_a_sweep_and_those_that_go_on_from_it(store: SweepStore) -> None:
    kept = {0: blob("real 0"), 2: blob("real 2")}
    made = store.create(replace(new(), real=kept), 5)
    assert store.real(made.key) == kept
    store.cancel("s1")
    resumed = store.create(new("s2", resumed_from="s1"), 5)
    store.delete("s1")
    assert store.real(made.key) == {}
    assert store.real(resumed.key) == kept


def test_a_database_may_be_shared_with_the_scorer(database: Database) -> None:
    with pytest.raises(SchemaOutdated, match="has schema none"):
        SCORER_SCHEMA.require(database)
    SCORER_SCHEMA.migrate(database)
    for schema in (SCHEMA, SCORER_SCHEMA):
        schema.require(database)


def test_one_request_is_one_sweep(store: SweepStore) -> None:
    asked = new()
    made = store.create(asked, 1)
    assert store.create(replace(asked, sweep_id="other"), 1) == made == store.get("s1")
    assert store.find_request(asked.request_id) == made
    with pytest.raises(InvalidArgument, match="request_id: was used for sweeps/s1 with other contents"):
        store.create(replace(asked, plan=replace(PLAN, first_seed=3)), 1)
    with pytest.raises(TooManySweeps):
        store.create(new("s2"), 1)
    assert [each.sweep_id for each in store.page(None, 10)] == ["s1"]


def test_a_plan_that_was_read_lately_is_not_decoded_again(store: SweepStore) -> None:
    """It was, at every look of everyone who watched it."""
    made = store.create(new(), 1)
    decoded = plan_of.cache_info().misses
    for _ in range(3):
        assert store.get("s1").plan == store.page(None, 10)[0].plan == made.plan == PLAN
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    assert taken[0].plan == PLAN
    assert plan_of.cache_info().misses == decoded


def test_the_oldest_of_the_models_served_is_claimed_once(store: SweepStore) -> None:
    for sweep_id, model in (("s3", "other"), ("s2", "tiny"), ("s1", "tiny")):
        store.create(new(sweep_id, model), 5)
    claimed = [store.claim(holder, FOREVER, ["tiny"]) for holder in ("a", "b", "c")]
    assert [each and each[0].sweep_id for each in claimed] == ["s2", "s1", None]
    assert store.get("s2").state is State.RUNNING
    assert store.count() == 3


def test_who_lost_the_lease_writes_nothing(store: SweepStore) -> None:
    store.create(new(), 1)
    found = store.claim("dead", GONE, ["tiny"])
    assert found is not None
    lost = found[1]
    store.checkpoint(lost, 0, 40, blob("old"), 0, blob("curve 0"))
    taken = store.claim("next", FOREVER, ["tiny"])
    assert taken is not None
    record, lease = taken
    assert record.progress.row_steps_done == 40  # what is saved counts, and nothing else
    for write in (
        lambda: store.checkpoint(lost, 0, 80, blob("late"), 5, blob("curve 5")),
        lambda: store.add_result(lost, 0, StoredResult(blob("rows"), blob("tensors"))),
        lambda: store.renew(lost, Progress(80)),
        lambda: store.finish(lost, State.SUCCEEDED, None, Progress(100)),
    ):
        with pytest.raises(LeaseLost):
            write()
    store.release(lost)
    assert store.get("s1").state is State.RUNNING
    assert [each.state for each in store.checkpoints(record.key)] == [blob("old"), None]
    assert store.curves(record.key, 0) == [blob("curve 0")]
    assert store.results_done(record.key) == frozenset()
    assert not store.renew(lease, Progress(50, 10.0, 1.5, "waits"))
    seen = store.get("s1")
    assert seen.progress == Progress(50, 10.0, 1.5, "waits")
    assert seen.time_left_s == 5.0
    assert seen.sequence > record.sequence


def test_results_are_counted_once_and_states_go_with_the_end(store: SweepStore) -> None:
    store.create(new(), 1)
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    record, lease = taken
    store.checkpoint(lease, 1, 60, blob("state"), 0, blob("curve"))
    for _ in range(2):
        store.add_result(lease, 2, StoredResult(blob("rows"), blob("tensors")))
    store.set_rankings(record, [ranking("first")])
    store.set_rankings(record, [ranking("second")])
    store.finish(lease, State.SUCCEEDED, None, Progress(100, 9.0, 2.0))
    ended = store.get("s1")
    assert (ended.state, ended.results_done, ended.progress.row_steps_done) == (State.SUCCEEDED, 1, 100)
    assert ended.end_time is not None
    assert ended.time_left_s is None
    assert store.results(record.key) == {2: StoredResult(blob("rows"), b"")}
    assert store.results(record.key, [2], tensors=True) == {2: StoredResult(blob("rows"), blob("tensors"))}
    assert store.results(record.key, [0]) == {}
    assert list(store.results(record.key, range(100_000))) == [2], "more than a database takes in one statement"
    assert store.rankings(record.key) == [ranking("second")]
    assert store.result_bytes(record.key) == [len(blob("rows"))]
    assert store.result_bytes(record.key, [0, 2], tensors=True) == [len(blob("rows") + blob("tensors"))]
    assert [each.state for each in store.checkpoints(record.key)] == [None, None]
    assert store.curves(record.key, 1) == [blob("curve")]
    assert store.claim("b", FOREVER, ["tiny"]) is None


def test_one_that_failed_is_gone_on_with(database: Database, store: SweepStore) -> None:
    store.create(new(), 2)
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    record, lease = taken
    with pytest.raises(SweepNotResumable, match="s1 is running: it goes on by itself"):
        store.create(new("s2", resumed_from="s1"), 2)
    for step, piece in ((0, blob("curve 0")), (5, blob("curve 5"))):
        store.checkpoint(lease, 0, 40, blob("state"), step, piece)
    store.add_result(lease, 2, StoredResult(blob("rows"), blob("tensors")))
    why = Failure(9, "why", (("type.googleapis.com/google.rpc.ErrorInfo", b"\n\x03WHY"),))
    store.finish(lease, State.FAILED, why, Progress(40, 9.0, 2.0))
    assert store.get("s1").failure == why
    assert [each.state for each in store.checkpoints(record.key)] == [blob("state"), None]

    asked = new("s2", resumed_from="s1")
    made = store.create(asked, 1)
    assert store.create(asked, 1) == made
    assert (made.state, made.failure, made.results_done, made.sequence) == (State.QUEUED, None, 1, 1)
    assert (made.progress.row_steps_done, made.progress.search_s) == (40, 2.0)
    store.delete("s1")  # nothing is shared
    assert store.checkpoints(made.key) == [Checkpoint(40, blob("state")), Checkpoint(0, None)]
    assert store.curves(made.key, 0) == [blob("curve 0"), blob("curve 5")]
    assert store.results(made.key, tensors=True) == {2: StoredResult(blob("rows"), blob("tensors"))}

    assert store.cancel("s2")  # while it waits, with checkpoints
    assert store.create(new("s3", resumed_from="s2"), 1).progress.row_steps_done == 40
    with database.writing() as connection:
        connection.execute(text("UPDATE sweep_block SET state = NULL"))  # as an earlier version left it
    with pytest.raises(SweepNotResumable, match="s2 ended in an earlier version, which kept no checkpoints"):
        store.create(new("s4", resumed_from="s2"), 9)
    with pytest.raises(SweepNotFound):
        store.create(new("s4", resumed_from="s1"), 9)
    assert [each.sweep_id for each in store.page(None, 10)] == ["s3", "s2"]


def test_cancelled_where_it_stands(store: SweepStore) -> None:
    store.create(new("s1"), 3)
    store.create(new("s2"), 3)
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    assert store.cancel("s2")
    assert store.get("s2").state is State.CANCELLED
    assert not store.cancel("s1")
    asked = store.get("s1")
    assert (asked.state, asked.cancelling) == (State.RUNNING, True)
    assert store.renew(taken[1], Progress(10))
    with pytest.raises(SweepNotOver):
        store.delete("s1")
    store.finish(taken[1], State.CANCELLED, None, Progress(10))
    ended = store.get("s1")
    assert not store.cancel("s1")
    assert store.get("s1") == ended
    store.delete("s1")
    with pytest.raises(SweepNotFound):
        store.get("s1")
    with pytest.raises(SweepNotFound):
        store.set_rankings(taken[0], [ranking("of a sweep that was deleted meanwhile")])


def test_one_whose_holder_is_gone_is_cancelled_though_nobody_can_run_it(store: SweepStore) -> None:
    store.create(new(), 1)
    taken = store.claim("dead", GONE, ["tiny"])
    assert taken is not None
    assert store.claim("next", FOREVER, ["another model"]) is None
    assert store.cancel("s1")
    assert store.get("s1").state is State.CANCELLED
    with pytest.raises(LeaseLost):
        store.renew(taken[1], Progress(10))
    store.delete("s1")


def test_the_clock_of_a_process_keeps_no_sweep(
    database: Database, store: SweepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One an hour ahead locked its sweep for the hour when it was killed: the database's clock counts, and where that
    is the process's own, no lease is believed that reaches further than leases do."""
    lease_s, ours = 0.5, SweepStore(database, 0.5)
    for sweep_id in ("s1", "s2"):
        store.create(new(sweep_id), 2)
    with monkeypatch.context() as ahead:
        ahead.setattr("earwitness.storage.database.time_ns", lambda: time.time_ns() + 3_600_000_000_000)
        dead = ours.claim("ahead", lease_s, ["tiny"])
    assert dead is not None
    if not database.is_sqlite:
        assert abs((ours.get("s1").update_time - datetime.now(UTC)).total_seconds()) < 600
        other = ours.claim("waits", 3600.0, ["tiny"])
        assert other is not None
        assert other[0].sweep_id == "s2", "the other is held still"
        time.sleep(2 * lease_s)
    taken = ours.claim("next", 0.4, ["tiny"])
    assert taken is not None
    assert taken[0].sweep_id == "s1"
    with pytest.raises(LeaseLost):
        ours.renew(dead[1], Progress(1))
    assert not ours.renew(taken[1], Progress(1))
    assert store.claim("another", lease_s, ["another model"]) is None


def test_a_sweep_whose_holder_does_not_move_is_cancelled(database: Database) -> None:
    """Whoever runs what: nobody has to have its model."""
    lease_s = 0.3
    ours = SweepStore(database, lease_s)
    ours.create(new("s1"), 2)
    ours.create(new("s2"), 2)
    assert ours.end_cancelled() == 0
    held = ours.claim("hangs", lease_s, ["tiny"])
    assert held is not None
    assert not ours.cancel("s1"), "it may be running"
    moving = ours.renew(held[1], Progress(1))
    assert moving, "a holder that moves ends it itself"
    time.sleep(2 * lease_s)
    assert ours.end_cancelled() == 1
    assert (ours.get("s1").state, ours.get("s2").state) == (State.CANCELLED, State.QUEUED)
    assert ours.end_cancelled() == 0
    with pytest.raises(LeaseLost):
        ours.finish(held[1], State.SUCCEEDED, None, Progress(100))


def test_what_those_wait_for_that_nobody_runs(store: SweepStore) -> None:
    for sweep_id in ("s1", "s2"):
        store.create(new(sweep_id), 2)
    assert store.claim("a", FOREVER, ["tiny"]) is not None

    def waiting_for() -> list[str]:
        return [store.get(sweep_id).progress.waiting_for for sweep_id in ("s1", "s2")]

    store.tell_waiting((), "Triton is away")
    assert waiting_for() == ["", "Triton is away"]
    store.tell_waiting(["another model"], "its model is not served")
    assert waiting_for() == ["", "its model is not served"]
    sequence = store.get("s2").sequence
    store.tell_waiting(["another model"], "its model is not served")
    assert store.get("s2").sequence == sequence
    store.tell_waiting(["tiny"], "its model is not served")
    assert waiting_for() == ["", ""]


def test_deleted_with_all_that_it_holds(database: Database, store: SweepStore) -> None:
    store.create(new(), 1)
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    store.checkpoint(taken[1], 0, 1, blob("state"), 0, blob("curve"))
    store.add_result(taken[1], 0, StoredResult(blob("rows"), blob("tensors")))
    store.set_rankings(taken[0], [ranking("ranking")])
    store.finish(taken[1], State.SUCCEEDED, None, Progress())
    store.delete("s1")
    with database.reading() as connection:
        for table in metadata.tables:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


def test_servers_at_once_claim_each_sweep_once_and_rank_it(database: Database, store: SweepStore) -> None:
    for number in range(12):
        store.create(new(f"s{number}"), 12)
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda number: store.claim(f"holder {number}", FOREVER, ["tiny"]), range(16)))
        taken = [each[0] for each in claimed if each is not None]
        assert sorted(record.sweep_id for record in taken) == sorted(f"s{number}" for number in range(12))
        rankings = [ranking(f"{number}") for number in range(16)]
        list(pool.map(lambda each: store.set_rankings(taken[0], [each]), rankings))
    assert len(store.rankings(taken[0].key)) == 1
    assert store.rankings(taken[0].key)[0] in rankings


def test_released_sweeps_are_claimed_again(store: SweepStore) -> None:
    store.create(new(), 1)
    taken = store.claim("a", FOREVER, ["tiny"])
    assert taken is not None
    store.release(taken[1])
    assert store.get("s1").state is State.QUEUED
    again = store.claim("b", FOREVER, ["tiny"])
    assert again is not None
    assert again[1].holder == "b"
