"""Who runs a sweep, and until when: leases, by the database's own clock.

The clocks of the processes play no part where the database has one, on PostgreSQL. SQLite's is that of the process that
asks, so a lease that reaches further than any does is not believed: whoever wrote it had another time.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, update

from earwitness.explainer.errors import LeaseLost
from earwitness.explainer.sweep.record import State
from earwitness.explainer.sweep.schema import sweep
from earwitness.storage.database import now_us

CLOCK_STEP_S = 1.0
"""A clock that is set right may go back so far, and a lease that is held seem so much longer."""


@dataclass(frozen=True)
class Lease:
    """The right to run a sweep: of the sweep with `key`, held by `holder`, renewed for `duration_s` at each write."""

    key: int
    holder: str
    duration_s: float


def until(connection: Connection, duration_s: float) -> ColumnElement[int]:
    """The end of a lease that begins now."""
    return now_us(connection) + us(duration_s)


def nobodys(connection: Connection, longest_s: float) -> ColumnElement[bool]:
    """Sweeps that are not over and that nobody runs: those that wait, and those whose holder is gone.

    `longest_s` is the length of the longest lease there is.
    """
    lapsed, untrue = sweep.c.lease_end_us < now_us(connection), until(connection, longest_s + CLOCK_STEP_S)
    gone = (sweep.c.state == State.RUNNING.value) & (lapsed | (sweep.c.lease_end_us > untrue))
    return (sweep.c.state == State.QUEUED.value) | gone


def write(connection: Connection, lease: Lease, /, **values: Any) -> None:
    """Change a sweep whose lease is held still, and hold it on. Raises: LeaseLost."""
    held = (sweep.c.key == lease.key) & (sweep.c.lease == lease.holder)
    if not change(connection, held, **{"lease_end_us": until(connection, lease.duration_s), **values}):
        raise LeaseLost()


def change(connection: Connection, where: ColumnElement[bool], **values: Any) -> int:
    """Change a sweep so that those who watch it see it; the number of sweeps that were."""
    stamped = {"sequence": sweep.c.sequence + 1, "update_time_us": now_us(connection), **values}
    return connection.execute(update(sweep).where(where).values(stamped)).rowcount


def over(connection: Connection, state: State) -> dict[str, Any]:
    """What changes in a sweep that is over."""
    return {"state": state.value, "end_time_us": now_us(connection), "lease": None, "lease_end_us": None}


def us(seconds: float) -> int:
    """Microseconds."""
    return round(seconds * 1e6)
