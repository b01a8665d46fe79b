"""What version 0.1.0 stored is read and answered for as it answered itself (`write.py` says how it was written)."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from google.longrunning import operations_pb2

from earwitness.client.reference_file import import_reference, read_reference
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweeps import SweepClient
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.integration.explainer.running import Running, running
from tests.integration.explainer.sweeping import Sweeping
from tests.integration.scorer import running as scorers
from tests.integration.stored.write import FOLDER, SWEEPS


def restore(service: str, folder: Path) -> Path:
    """The folder of a service with its database as it was."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / f"{service}.db")) as database:
        database.executescript((FOLDER / f"{service}.sql").read_text(encoding="utf-8"))
    return folder


def request_ids() -> list[str]:
    """Those of the stored sweeps, the oldest first."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript((FOLDER / "explainer.sql").read_text(encoding="utf-8"))
        return [each for (each,) in database.execute("SELECT request_id FROM sweep ORDER BY key")]


def stored_sweep(number: int) -> pb.Sweep:
    return pb.Sweep.FromString((FOLDER / f"sweep-{number}.binpb").read_bytes())


@pytest.fixture
async def scorer(tmp_path: Path) -> AsyncIterator[scorers.Running]:
    async with scorers.running(restore("scorer", tmp_path / "scorer")) as started:
        yield started


@pytest.fixture
async def explainer(tmp_path: Path, scorer: scorers.Running) -> AsyncIterator[Running]:
    tiny = write_tiny_bundle(tmp_path / "models")
    folder = restore("explainer", tmp_path / "explainer")
    async with running(tiny, data_dir=folder, scorer_address=f"127.0.0.1:{scorer.port}", sweep_rows=8) as started:
        yield started


async def test_sweeps_are_answered_for_as_they_were(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    for number in range(len(SWEEPS)):
        then = stored_sweep(number)
        name = f"operations/{then.name.removeprefix('sweeps/')}"
        operation = operations_pb2.Operation.FromString((FOLDER / f"operation-{number}.binpb").read_bytes())
        assert await sweeping.operations.GetOperation(operations_pb2.GetOperationRequest(name=name)) == operation
        assert await sweeping.get(then.name.removeprefix("sweeps/")) == then
    listed = (await sweeping.operations.ListOperations(operations_pb2.ListOperationsRequest())).operations
    assert [each.name.partition("/")[2] for each in listed] == [
        stored_sweep(number).name.partition("/")[2] for number in reversed(range(len(SWEEPS)))
    ]
    async with SweepClient(f"127.0.0.1:{explainer.server.port}") as client:
        states = [each.state for each in await client.list()]
    assert states == ["failed", "cancelled", "succeeded", "succeeded", "succeeded"]


async def test_the_same_request_is_the_same_sweep(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    for number, (request_id, message) in enumerate(zip(request_ids(), SWEEPS, strict=True)):
        assert f"sweeps/{await sweeping.create(message, request_id)}" == stored_sweep(number).name


async def test_rankings_come_out_as_they_did(explainer: Running) -> None:
    for number in (0, 1, 2):
        then = stored_sweep(number)
        assert all(each.results and not each.error for each in then.rankings), "there is something to compare"
        again = await explainer.stub.RankSweep(pb.RankSweepRequest(name=then.name))
        for ours, theirs in zip(again.rankings, then.rankings, strict=True):
            assert (ours.objective_index, ours.reference_version) == (theirs.objective_index, theirs.reference_version)
            assert ours.criterion == theirs.criterion
            assert [(each.result_index, list(each.kept_rows)) for each in ours.results] == [
                (each.result_index, list(each.kept_rows)) for each in theirs.results
            ]
            np.testing.assert_allclose(
                [each.criterion_value for each in ours.results],
                [each.criterion_value for each in theirs.results],
                rtol=1e-4,
            )


async def test_a_cancelled_sweep_is_resumed(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    cancelled = stored_sweep(3)
    resumed = await sweeping.resume(cancelled.name.removeprefix("sweeps/"))
    assert (await sweeping.wait(resumed)).HasField("response")
    found = await sweeping.get(resumed)
    assert found.resumed_from == cancelled.name
    assert all(each.done for each in found.results)
    assert found.row_step_count == 2 * 4 * 2000


async def test_references_are_answered_for_as_they_were(scorer: scorers.Running) -> None:
    for name in ("highest", "all"):
        then = scorer_pb2.Reference.FromString((FOLDER / f"reference-{name}.binpb").read_bytes())
        request = scorer_pb2.GetReferenceRequest(name=then.name)
        assert (await scorer.stub.GetReference(request)).reference == then


async def test_a_reference_file_is_the_reference_that_it_was_written_of(scorer: scorers.Running) -> None:
    stored = read_reference(FOLDER / "highest.npz")
    async with ScorerClient(f"127.0.0.1:{scorer.port}") as client:
        kept = await client.read_statistics("highest/versions/1")
        assert (stored.about.identity, stored.about.selection) == (kept.reference.identity, kept.reference.selection)
        assert stored.about.kept_layers == kept.reference.kept_layers
        assert stored.partial.to_bytes() == kept.partial.to_bytes()
        imported = await import_reference(client, "again", stored)
        assert imported.added
        assert (await client.read_statistics("again/versions/1")).partial.to_bytes() == kept.partial.to_bytes()
