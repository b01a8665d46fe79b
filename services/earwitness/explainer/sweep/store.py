"""The store of sweeps in a SQL database. Every method is one transaction.

Whoever runs a sweep holds its lease. What it writes names the lease and is refused once it has passed to another, so a
process that was thought dead counts nothing a second time.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import SweepNotFound, SweepNotOver, TooManySweeps
from earwitness.explainer.sweep.leases import Lease, change, nobodys, over, until, us, write
from earwitness.explainer.sweep.record import Failure, NewSweep, Progress, State, SweepRecord
from earwitness.explainer.sweep.resuming import begin_with, require_resumable
from earwitness.explainer.sweep.schema import block, curve, ranking, real, result, sweep
from earwitness.explainer.sweep.stored import failure_bytes, failure_of, plan_bytes, plan_of, ranking_bytes, ranking_of
from earwitness.storage.blobs import require_sound
from earwitness.storage.columns import new_key, time_of
from earwitness.storage.database import Database, now_us
from earwitness.vocabulary.sweep import SweepRanking

_PARAMETERS = 10_000
"""Of one statement: SQLite takes 32 766, PostgreSQL twice as many."""
LONGEST_LEASE_S = 24 * 3600.0
"""Of a store that runs no sweeps and knows nobody who does."""
_WAITING = (State.QUEUED.value, State.RUNNING.value)


@dataclass(frozen=True)
class Checkpoint:
    """A block at a checkpoint; `state` None is a block that has none yet, or whose sweep succeeded."""

    row_steps_done: int
    state: bytes | None


@dataclass(frozen=True)
class StoredResult:
    """A result that is done, as `results` encodes it; `tensors` is empty where it was not asked for."""

    rows: bytes
    tensors: bytes


class SweepStore:
    """All methods are synchronous, may be called from any thread, and raise StoreUnavailable and StoreDamaged."""

    def __init__(self, database: Database, longest_lease_s: float = LONGEST_LEASE_S) -> None:
        """`longest_lease_s` is what `claim` is told by all who share the database: no lease is believed that reaches
        further from now."""
        self._database = database
        self._longest_lease_s = longest_lease_s

    def _nobodys(self, connection: Connection) -> ColumnElement[bool]:
        return nobodys(connection, self._longest_lease_s)

    def create(self, new: NewSweep, max_waiting: int) -> SweepRecord:
        """The new sweep, or the one that the same request made before; it begins with what
        the sweep that it resumes left.

        Raises: InvalidArgument when the request id belongs to another request; TooManySweeps; SweepNotFound,
        SweepNotResumable.
        """
        values = {
            "key": new_key(),
            "sweep_id": new.sweep_id,
            "request_id": new.request_id,
            "request": plan_bytes(new.plan, new.resumed_from),
            "model": new.model,
            "weights_sha256": new.weights_sha256,
            "block_rows": new.block_rows,
            "state": State.QUEUED.value,
            "cancelling": False,
            "sequence": 1,
            "row_steps_done": 0,
            "row_step_count": new.row_step_count,
            "results_done": 0,
            "result_count": new.result_count,
            "row_steps_per_second": 0.0,
            "waiting_for": "",
            "search_us": 0,
            "traceparent": new.traceparent or None,
        }
        try:
            with self._database.writing() as connection:
                made = _same_request(connection, new)
                if made is not None:
                    return made
                waiting = select(func.count()).select_from(sweep).where(sweep.c.state.in_(_WAITING))
                if (count := int(connection.execute(waiting).scalar_one())) >= max_waiting:
                    raise TooManySweeps(count)
                source = _get(connection, new.resumed_from, lock=True) if new.resumed_from else None
                if source is not None:
                    require_resumable(connection, source)
                now = now_us(connection)
                connection.execute(insert(sweep).values(values | {"create_time_us": now, "update_time_us": now}))
                key = _get(connection, new.sweep_id).key
                if source is not None:
                    begin_with(connection, source, key)
                else:
                    parts = [
                        {"sweep_key": key, "number": number, "row_steps_done": 0} for number in range(new.block_count)
                    ]
                    connection.execute(insert(block), parts)
                    for number, body in new.real.items():
                        connection.execute(insert(real).values(sweep_key=key, objective=number, body=body))
                return _get(connection, new.sweep_id)
        except IntegrityError:  # another server stored the same request at the same time
            with self._database.reading() as connection:
                made = _same_request(connection, new)
            if made is None:
                raise
            return made

    def find_request(self, request_id: str) -> SweepRecord | None:
        """The sweep that a request made."""
        with self._database.reading() as connection:
            found = connection.execute(select(sweep).where(sweep.c.request_id == request_id)).one_or_none()
        return None if found is None else _record(found)

    def get(self, sweep_id: str) -> SweepRecord:
        """Raises: SweepNotFound."""
        with self._database.reading() as connection:
            return _get(connection, sweep_id)

    def page(self, before: int | None, limit: int) -> list[SweepRecord]:
        """At most `limit` sweeps, the newest first, whose keys are less than `before` unless it is None."""
        query = select(sweep).order_by(sweep.c.key.desc()).limit(limit)
        if before is not None:
            query = query.where(sweep.c.key < before)
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(query)]

    def cancel(self, sweep_id: str) -> bool:
        """Ask that a sweep stops; one that is over stays as it is, one that nobody runs is cancelled at once: whether
        that was so.

        Raises: SweepNotFound.
        """
        with self._database.writing() as connection:
            found = _get(connection, sweep_id, lock=True)
            of = sweep.c.key == found.key
            if change(connection, of & self._nobodys(connection), **over(connection, State.CANCELLED)):
                return True
            change(connection, of & (sweep.c.state == State.RUNNING.value) & ~sweep.c.cancelling, cancelling=True)
            return False

    def end_cancelled(self) -> int:
        """The sweeps that were to be cancelled when their holders went are over: how many."""
        with self._database.reading() as connection:  # every second, so that it is not a writer mostly
            waiting = sweep.c.cancelling & self._nobodys(connection)
            if connection.execute(select(sweep.c.key).where(waiting).limit(1)).first() is None:
                return 0
        with self._database.writing() as connection:
            waiting = sweep.c.cancelling & self._nobodys(connection)
            return change(connection, waiting, **over(connection, State.CANCELLED))

    def delete(self, sweep_id: str) -> None:
        """Delete a sweep that is over with all that it holds. Raises: SweepNotFound, SweepNotOver."""
        with self._database.writing() as connection:
            found = _get(connection, sweep_id, lock=True)
            if not found.state.over:
                raise SweepNotOver(sweep_id, found.state.value)
            connection.execute(delete(sweep).where(sweep.c.key == found.key))

    def claim(self, holder: str, duration_s: float, models: Collection[str]) -> tuple[SweepRecord, Lease] | None:
        """The oldest sweep of one of the models that nobody runs, from now on run by `holder`; None without any."""
        with self._database.writing() as connection:
            ours = self._nobodys(connection) & sweep.c.model.in_(models)
            first = select(sweep).where(ours).order_by(sweep.c.key).limit(1)
            found = connection.execute(first.with_for_update(skip_locked=True)).one_or_none()
            if found is None:
                return None
            done = select(func.sum(block.c.row_steps_done)).where(block.c.sweep_key == found.key).scalar_subquery()
            change(
                connection,
                sweep.c.key == found.key,
                state=State.RUNNING.value,
                lease=holder,
                lease_end_us=until(connection, duration_s),
                row_steps_done=done,
                waiting_for="",
            )
            return _get(connection, found.sweep_id), Lease(found.key, holder, duration_s)

    def tell_waiting(self, served: Collection[str], why: str) -> None:
        """Say of the sweeps that nobody runs whether they wait for more than their turn: `why`, for other models than
        those `served`."""
        with self._database.writing() as connection:
            waiting, has_model = self._nobodys(connection), sweep.c.model.in_(served)
            change(connection, waiting & has_model & (sweep.c.waiting_for != ""), waiting_for="")
            change(connection, waiting & ~has_model & (sweep.c.waiting_for != why), waiting_for=why)

    def renew(self, lease: Lease, progress: Progress) -> bool:
        """Write how far it is, and hold the lease on; returns whether it is to be cancelled. Raises: LeaseLost."""
        with self._database.writing() as connection:
            write(
                connection,
                lease,
                row_steps_done=progress.row_steps_done,
                row_steps_per_second=progress.row_steps_per_second,
                search_us=us(progress.search_s),
                waiting_for=progress.waiting_for,
            )
            query = select(sweep.c.cancelling).where(sweep.c.key == lease.key)
            return bool(connection.execute(query).scalar_one())

    def checkpoint(
        self, lease: Lease, number: int, row_steps_done: int, state: bytes, first_step: int, curves: bytes
    ) -> None:
        """Write a block's state, and its curves from `first_step`, the end of those before. Raises: LeaseLost."""
        with self._database.writing() as connection:
            write(connection, lease)
            of = (block.c.sweep_key == lease.key) & (block.c.number == number)
            connection.execute(update(block).where(of).values(row_steps_done=row_steps_done, state=state))
            if curves:
                piece = {"sweep_key": lease.key, "block": number, "first_step": first_step, "body": curves}
                connection.execute(insert(curve).values(piece))

    def add_result(self, lease: Lease, number: int, found: StoredResult) -> None:
        """Write a result that is done; one that is there stays. Raises: LeaseLost."""
        with self._database.writing() as connection:
            write(connection, lease)
            of = (result.c.sweep_key == lease.key) & (result.c.number == number)
            if connection.execute(select(result.c.number).where(of)).first() is None:
                values = {"sweep_key": lease.key, "number": number, "rows": found.rows, "tensors": found.tensors}
                connection.execute(insert(result).values(values))
                change(connection, sweep.c.key == lease.key, results_done=sweep.c.results_done + 1)

    def finish(self, lease: Lease, state: State, failure: Failure | None, progress: Progress) -> None:
        """The sweep is over; what it needs to go on is dropped when it succeeded. Raises: LeaseLost."""
        with self._database.writing() as connection:
            write(
                connection,
                lease,
                row_steps_done=progress.row_steps_done,
                row_steps_per_second=progress.row_steps_per_second,
                search_us=us(progress.search_s),
                waiting_for="",
                **over(connection, state),
                error=None if failure is None else failure_bytes(failure),
            )
            if state is State.SUCCEEDED:
                connection.execute(update(block).where(block.c.sweep_key == lease.key).values(state=None))

    def release(self, lease: Lease) -> None:
        """Give the sweep back to the queue; another's stays another's."""
        with self._database.writing() as connection:
            of = (sweep.c.key == lease.key) & (sweep.c.lease == lease.holder)
            change(connection, of, state=State.QUEUED.value, lease=None, lease_end_us=None, row_steps_per_second=0.0)

    def set_rankings(self, record: SweepRecord, rankings: Sequence[SweepRanking]) -> None:
        """Write the rankings of objectives in place of those before.

        Raises: SweepNotFound when the sweep was deleted meanwhile.
        """
        key = record.key
        with self._database.writing() as connection:
            # First, as it makes another writer wait: two at once must not both insert.
            if not change(connection, sweep.c.key == key):
                raise SweepNotFound(record.sweep_id)
            for each in rankings:
                values = {"sweep_key": key, "objective": each.objective_index, "body": ranking_bytes(each)}
                of = (ranking.c.sweep_key == key) & (ranking.c.objective == each.objective_index)
                connection.execute(delete(ranking).where(of))
                connection.execute(insert(ranking).values(values))

    def checkpoints(self, key: int) -> list[Checkpoint]:
        """Every block of a sweep."""
        query = select(block.c.row_steps_done, block.c.state).where(block.c.sweep_key == key).order_by(block.c.number)
        with self._database.reading() as connection:
            found = [Checkpoint(row.row_steps_done, row.state) for row in connection.execute(query)]
            for each in found:
                if each.state is not None:
                    require_sound(each.state)
            return found

    def real(self, key: int) -> dict[int, bytes]:
        """The real activations that targets are quantiles of, by objective."""
        query = select(real.c.objective, real.c.body).where(real.c.sweep_key == key)
        with self._database.reading() as connection:
            found = {row.objective: row.body for row in connection.execute(query)}
            for each in found.values():
                require_sound(each)
            return found

    def curves(self, key: int, number: int) -> list[bytes]:
        """The pieces of a block's curves, in their order."""
        of = (curve.c.sweep_key == key) & (curve.c.block == number)
        with self._database.reading() as connection:
            found = list(connection.execute(select(curve.c.body).where(of).order_by(curve.c.first_step)).scalars())
            for each in found:
                require_sound(each)
            return found

    def results(
        self, key: int, numbers: Sequence[int] | None = None, *, tensors: bool = False
    ) -> dict[int, StoredResult]:
        """The results that are done, of those with `numbers` unless that is None."""
        columns = [result.c.number, result.c.rows, *([result.c.tensors] if tensors else [])]
        with self._database.judging():
            rows = self._of_results(columns, key, numbers)
            for row in rows:
                require_sound(row.rows)
                if tensors:
                    require_sound(row.tensors)
        return {row.number: StoredResult(row.rows, row.tensors if tensors else b"") for row in rows}

    def result_bytes(self, key: int, numbers: Sequence[int] | None = None, *, tensors: bool = False) -> list[int]:
        """The size of each entry of `results`."""
        size = func.length(result.c.rows)
        return [row.size for row in self._of_results(
            [(size + func.length(result.c.tensors) if tensors else size).label("size")], key, numbers
        )]  # fmt: skip

    def _of_results(
        self, columns: Sequence[ColumnElement[Any]], key: int, numbers: Sequence[int] | None
    ) -> list[Row[Any]]:
        query = select(*columns).where(result.c.sweep_key == key)
        queries = [query]
        if numbers is not None:
            wanted = sorted(set(numbers))
            starts = range(0, len(wanted), _PARAMETERS)
            queries = [query.where(result.c.number.in_(wanted[start : start + _PARAMETERS])) for start in starts]
        with self._database.reading() as connection:
            return [row for each in queries for row in connection.execute(each)]

    def results_done(self, key: int) -> frozenset[int]:
        """The numbers of the results that are done."""
        with self._database.reading() as connection:
            return frozenset(connection.execute(select(result.c.number).where(result.c.sweep_key == key)).scalars())

    def rankings(self, key: int) -> list[SweepRanking]:
        """The rankings, in the order of their objectives."""
        query = select(ranking.c.body).where(ranking.c.sweep_key == key).order_by(ranking.c.objective)
        with self._database.reading() as connection:
            return list(map(ranking_of, connection.execute(query).scalars()))

    def count(self) -> int:
        """Sweeps that run or wait. Raises: StoreDamaged, too, once damage was seen."""
        self._database.require_sound()
        query = select(func.count()).select_from(sweep).where(sweep.c.state.in_(_WAITING))
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _same_request(connection: Connection, new: NewSweep) -> SweepRecord | None:
    found = connection.execute(select(sweep).where(sweep.c.request_id == new.request_id)).one_or_none()
    if found is None:
        return None
    if found.request != plan_bytes(new.plan, new.resumed_from):
        raise InvalidArgument(
            "request_id", f"was used for sweeps/{found.sweep_id} with other contents; take a new UUID4"
        )
    return _record(found)


def _get(connection: Connection, sweep_id: str, *, lock: bool = False) -> SweepRecord:
    query = select(sweep).where(sweep.c.sweep_id == sweep_id)
    found = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise SweepNotFound(sweep_id)
    return _record(found)


def _record(row: Row[Any]) -> SweepRecord:
    plan, resumed_from = plan_of(row.request)
    return SweepRecord(
        key=row.key,
        sweep_id=row.sweep_id,
        plan=plan,
        resumed_from=resumed_from,
        model=row.model,
        weights_sha256=row.weights_sha256,
        block_rows=row.block_rows,
        state=State(row.state),
        cancelling=row.cancelling,
        failure=None if row.error is None else failure_of(row.error),
        sequence=row.sequence,
        progress=Progress(row.row_steps_done, row.row_steps_per_second, row.search_us / 1e6, row.waiting_for),
        row_step_count=row.row_step_count,
        results_done=row.results_done,
        result_count=row.result_count,
        create_time=time_of(row.create_time_us),
        update_time=time_of(row.update_time_us),
        end_time=None if row.end_time_us is None else time_of(row.end_time_us),
        traceparent=row.traceparent or "",
    )
