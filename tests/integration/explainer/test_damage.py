"""Damaged sweeps: callers are told that they are lost, not of a defect, and health says no; searches go on."""

import sqlite3
from contextlib import closing
from pathlib import Path

import grpc
import grpc.aio
import pytest

from earwitness.explainer.server import OPERATIONS_NAME
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc.errors import error_from_rpc
from tests.faults.searches import explain, search
from tests.helpers.damage import not_serving, overwrite
from tests.helpers.services import Service, service
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.sweeping import Sweeping, sweep

GRID = pb.SweepGrid(learning_rates=[0.1], prior_weights=[0.1], steps=[5])


def explainer(tiny: TinyBundle, folder: Path):  # type: ignore[no-untyped-def]
    return service("explainer", data_dir=folder, backend="local", model_repository=tiny.repository, local_threads=1)


async def is_lost(running: Service, sweep_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Sweeping.of(running.channel).get(sweep_id)
    failure = error_from_rpc(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_DAMAGED"), failure
    await not_serving(running.channel, OPERATIONS_NAME)
    assert len((await explain(running.channel, search([0], 5))).explanations) == 1


async def test_a_changed_result_and_overwritten_pages(tiny: TinyBundle, tmp_path: Path) -> None:
    file = tmp_path / "explainer.db"
    async with explainer(tiny, tmp_path) as running:
        sweeping = Sweeping.of(running.channel)
        sweep_id = await sweeping.create(sweep(grid=GRID))
        await sweeping.wait(sweep_id)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("UPDATE sweep_result SET rows = CAST(x'00' || rows AS BLOB)")
        await is_lost(running, sweep_id)
    async with explainer(tiny, tmp_path) as running:
        overwrite(file, 2, -1, b"damaged!")
        await is_lost(running, sweep_id)
