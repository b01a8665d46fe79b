"""A list of sweeps costs what it says, not what the sweeps hold."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from google.longrunning import operations_pb2
from prometheus_client import CollectorRegistry
from sqlalchemy import event, update

from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.layout import Layout
from earwitness.explainer.sweep.migration import SCHEMA
from earwitness.explainer.sweep.record import NewSweep, Progress, State
from earwitness.explainer.sweep.schema import sweep
from earwitness.explainer.sweep.servicer import OperationsServicer
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.sweep.sweeps import Sweeps
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.local import LocalBackend
from earwitness.storage.database import Database
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.score import Criterion, RankedBatch, Score
from earwitness.vocabulary.sweep import PAPER_GRID, SweepObjective, SweepPlan, SweepRanking
from tests.helpers.tiny_bundle import TinyBundle

NOBODY_CALLS = cast(Any, None)
PLAN = SweepPlan("svd-r1", (SweepObjective(Objective("fc9", 0), "references/svd-r1-fc9-top50"),), PAPER_GRID, 50)
SCORE = Score(0.1, 0.2, 0.3, 50, 50, 1, 1, False, 0.8, 0.9, 1.1, 1.2, 0.13)
RANKING = SweepRanking(
    0,
    f"{PLAN.objectives[0].reference}/versions/1",
    tuple(RankedBatch(str(each), each + 1, SCORE, 0.04, False, 0.1) for each in range(PLAN.result_count)),
    "",
    Criterion(),
)


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Those that the database is given, the beginnings of transactions among them."""
    seen: list[str] = []

    def see(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", see)


def add_finished(store: SweepStore, number: int) -> None:
    """A ranked sweep of the paper's grid that is over."""
    plan, layout = replace(PLAN, first_seed=number), Layout(PLAN, 128)
    sweep_id = f"s20261201-164655-{number:06x}"
    work, parts = layout.row_step_count, layout.block_count
    made = NewSweep(sweep_id, str(uuid4()), plan, plan.model, "ab" * 32, 128, parts, work, plan.result_count)
    record = store.create(made, 1)
    store.set_rankings(record, [RANKING])
    claimed = store.claim("us", 60.0, [plan.model])
    assert claimed is not None
    store.finish(claimed[1], State.SUCCEEDED, None, Progress(work, 1234.5, 100.0))


async def test_fifty_finished_sweeps_are_listed_by_three_statements_in_fifteen_kilobytes(
    tiny: TinyBundle, tmp_path: Path
) -> None:
    """It took 202 statements and 189 kB, most of which no caller of a list reads."""
    settings = ExplainerSettings(port=0, metrics_port=None, data_dir=tmp_path)
    database, backend = Database(settings.store_url), LocalBackend(tiny.repository, threads=1)
    SCHEMA.prepare(database)
    store, metrics = SweepStore(database), ExplainerMetrics(CollectorRegistry())
    explainer = Explainer(backend, settings, metrics)
    sweeps = Sweeps(explainer, store, settings, None, metrics)  # not started: nothing else asks the database
    try:
        for number in range(50):
            add_finished(store, number)
        with database.writing() as connection:
            connection.execute(update(sweep).values(results_done=PLAN.result_count))
        with statements(database) as asked:
            listed = await OperationsServicer(sweeps).ListOperations(
                operations_pb2.ListOperationsRequest(), NOBODY_CALLS
            )
        assert len(listed.operations) == 50
        assert len(asked) <= 3, asked
        assert listed.ByteSize() <= 15 * 1024
        for each in listed.operations:
            about = pb.SweepMetadata()
            assert each.done
            assert each.HasField("response")
            assert each.metadata.Unpack(about)
            assert about.state == pb.SWEEP_STATE_SUCCEEDED
            assert about.objectives[0].reference == PLAN.objectives[0].reference
    finally:
        await sweeps.close()
        await explainer.close()
        await backend.close()
        await asyncio.to_thread(database.close)
