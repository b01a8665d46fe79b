"""A list of sweeps costs what it says, not what the sweeps hold."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from google.longrunning import operations_pb2
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from earwitness.explainer.explainer import Explainer
from earwitness.explainer.metrics import ExplainerMetrics
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.migration import SCHEMA
from earwitness.explainer.sweep.record import Progress, State
from earwitness.explainer.sweep.servicer import OperationsServicer, SweepServicer
from earwitness.explainer.sweep.store import SweepStore
from earwitness.explainer.sweep.sweeps import Sweeps
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.local import LocalBackend
from earwitness.storage.database import Database
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import FC3_0
from tests.integration.explainer.sweeping import sweep

NOBODY_CALLS = cast(Any, None)
PAPER_GRID = pb.SweepGrid(learning_rates=[0.1, 0.01, 0.001], prior_weights=[0.1, 0.01, 0.001], steps=[100, 500, 1000])


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
        asking, operations = SweepServicer(sweeps, settings.max_response_bytes), OperationsServicer(sweeps)
        for number in range(50):
            message = sweep(FC3_0, grid=PAPER_GRID, seed_count=50, first_seed=number)
            await asking.CreateSweep(pb.CreateSweepRequest(request_id=str(uuid4()), sweep=message), NOBODY_CALLS)
            claimed = store.claim("us", 60.0, [tiny.metadata.name])
            assert claimed is not None
            store.finish(claimed[1], State.SUCCEEDED, None, Progress(row_steps_done=450_000, search_s=100.0))
        with statements(database) as asked:
            listed = await operations.ListOperations(operations_pb2.ListOperationsRequest(), NOBODY_CALLS)
        assert len(listed.operations) == 50
        assert len(asked) <= 3
        assert listed.ByteSize() <= 15_000
        for each in listed.operations:
            short = pb.Sweep()
            assert each.done
            assert each.response.Unpack(short)
            assert short.name == f"sweeps/{each.name.removeprefix('operations/')}"
    finally:
        await sweeps.close()
        await explainer.close()
        await backend.close()
        await asyncio.to_thread(database.close)
