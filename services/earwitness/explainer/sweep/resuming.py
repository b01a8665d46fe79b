"""A new sweep that goes on from one that failed or was cancelled: its blocks, trajectories and results, copied."""

from sqlalchemy import Connection, func, insert, literal, select, update

from earwitness.explainer.errors import SweepNotResumable
from earwitness.explainer.sweep.record import State, SweepRecord
from earwitness.explainer.sweep.schema import block, curve, real, result, sweep

RESUMABLE = (State.FAILED, State.CANCELLED)


def require_resumable(connection: Connection, source: SweepRecord) -> None:
    """Raises: SweepNotResumable."""
    if source.state not in RESUMABLE:
        why = "all its results are there" if source.state is State.SUCCEEDED else "it goes on by itself"
        raise SweepNotResumable(f"sweeps/{source.sweep_id} is {source.state.value}: {why}")
    lost = (block.c.sweep_key == source.key) & (block.c.row_steps_done > 0) & block.c.state.is_(None)
    if connection.execute(select(block.c.number).where(lost)).first() is not None:
        raise SweepNotResumable(
            f"sweeps/{source.sweep_id} ended in an earlier version, which kept no checkpoints; sweep again"
        )


def begin_with(connection: Connection, source: SweepRecord, key: int) -> None:
    """Give the sweep with `key`, which has no parts yet, all that `source` has done."""
    for table in (block, curve, result, real):
        columns = [each for each in table.c if each.name != "sweep_key"]
        parts = select(literal(key), *columns).where(table.c.sweep_key == source.key)
        connection.execute(insert(table).from_select(["sweep_key", *(each.name for each in columns)], parts))
    done = select(func.sum(block.c.row_steps_done)).where(block.c.sweep_key == key).scalar_subquery()
    connection.execute(
        update(sweep)
        .where(sweep.c.key == key)
        .values(
            row_steps_done=done,
            results_done=select(func.count()).select_from(result).where(result.c.sweep_key == key).scalar_subquery(),
            search_us=select(sweep.c.search_us).where(sweep.c.key == source.key).scalar_subquery(),
        )
    )
