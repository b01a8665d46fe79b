"""Sweeps through a real server: results equal to searches of one setting, and the life of their operations."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import grpc.aio
import numpy as np
import pytest
from google.longrunning import operations_pb2

from earwitness.explainer.sweep.store import Checkpoint, SweepStore
from earwitness.explainer.v1 import explainer_pb2 as pb
from tests.helpers.tiny_bundle import TinyBundle
from tests.integration.explainer.running import FC3_0, Running, failure, running, search, seeds
from tests.integration.explainer.sweeping import DIRECTION, LEAST_1, SLOW, Sweeping, array, metadata, sweep

TOLERANCE = 2e-4
"""Between rows that had other rows beside them: the inference server may round matrix products differently, and a
search carries it on."""


@pytest.mark.parametrize("sweep_rows", [7, 128])
async def test_each_result_is_that_of_its_setting_alone(tiny: TinyBundle, sweep_rows: int) -> None:
    grid = pb.SweepGrid(
        learning_rates=[0.1, 0.02], prior_weights=[0.05], steps=[40, 5, 20],
        optimisers=[pb.OPTIMISER_ADAM, pb.OPTIMISER_SGD],
    )  # fmt: skip
    async with running(tiny, sweep_rows=sweep_rows) as started:
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(FC3_0, LEAST_1, DIRECTION, grid=grid))
        done = await sweeping.wait(sweep_id)
        assert done.done
        assert done.HasField("response")
        found = await sweeping.get(sweep_id)
        assert found.state == pb.SWEEP_STATE_SUCCEEDED
        assert len(found.results) == 3 * 12
        assert all(result.done for result in found.results)
        # Adam's three step counts are one run, SGD's are three.
        assert found.row_step_count == 3 * 6 * 2 * (40 + 40 + 20 + 5)
        assert [result.settings.steps for result in found.results[:3]] == [40, 5, 20]
        for result in found.results:
            objective = found.objectives[result.objective_index].objective
            alone = await started.explain(
                pb.Search(model=found.model, objective=objective, settings=result.settings, rows=seeds(6, 3))
            )
            assert [each.best_step for each in alone.explanations] == list(result.best_steps)
            for field, theirs in {
                "latents": [array(each.latent) for each in alone.explanations],
                "layer_activations": [array(each.layer_activations) for each in alone.explanations],
            }.items():
                np.testing.assert_allclose(array(getattr(result, field)), np.stack(theirs), atol=TOLERANCE)
            np.testing.assert_allclose(
                result.activations, [each.activation for each in alone.explanations], atol=TOLERANCE
            )
            assert set(result.diverged_steps) == {-1}


async def test_explanations_of_a_result(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    sweep_id = await sweeping.create(sweep())
    await sweeping.wait(sweep_id)
    index = 7  # rate 0.01, prior 0.1, 20 steps, a prefix of 40
    result = (await sweeping.get(sweep_id)).results[index]
    artefacts = [pb.ARTEFACT_AUDIO, pb.ARTEFACT_PICTURE, pb.ARTEFACT_TRAJECTORY]
    found = await sweeping.explanations(sweep_id, index, *artefacts, rows=[4, 1])
    assert [(each.row_index, each.seed) for each in found] == [(4, 7), (1, 4)]
    alone = await explainer.explain(
        pb.Search(model="models/tiny", objective=FC3_0, settings=result.settings, rows=seeds(6, 3)), *artefacts
    )
    for each in found:
        same = alone.explanations[each.row_index]
        assert each.settings == same.settings
        assert each.best_step == same.best_step
        assert len(each.trajectory.activations) == 21
        np.testing.assert_allclose(each.trajectory.activations, same.trajectory.activations, atol=TOLERANCE)
        np.testing.assert_allclose(each.trajectory.gradient_norms, same.trajectory.gradient_norms, atol=TOLERANCE)
        np.testing.assert_allclose(array(each.spectrogram), array(same.spectrogram), atol=10 * TOLERANCE)
        assert each.audio_wav[:4] == b"RIFF"
        assert each.picture_png[1:4] == b"PNG"
    assert len(await sweeping.explanations(sweep_id, index)) == 6
    first = await sweeping.explanations(sweep_id, 0, rows=[0])
    assert not first[0].audio_wav


async def test_one_request_id_is_one_sweep(explainer: Running) -> None:
    sweeping = Sweeping.of(explainer.channel)
    request_id = str(uuid4())
    names = await asyncio.gather(*(sweeping.create(sweep(), request_id) for _ in range(4)))
    assert len(set(names)) == 1
    await sweeping.wait(names[0])
    assert await sweeping.create(sweep(name="sweeps/ignored"), request_id) == names[0]
    refused = await failure(sweeping.create(sweep(seed_count=7), request_id))
    assert (refused.code, refused.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    assert names[0] in refused.message


async def test_cancel_keeps_what_is_done(tiny: TinyBundle) -> None:
    async with running(tiny, sweep_heartbeat_s=0.05, sweep_rows=12) as started:
        started.backend.step_s = 0.002
        sweeping = Sweeping.of(started.channel)
        running_id = await sweeping.create(sweep(grid=SLOW))
        queued_id = await sweeping.create(sweep(grid=SLOW))
        # 12 rows, all past 20 steps
        progress = await sweeping.until(running_id, 12 * 40)
        assert progress.state == pb.SWEEP_STATE_RUNNING
        assert progress.time_left.ToTimedelta().total_seconds() > 0
        assert (await sweeping.metadata(queued_id)).state == pb.SWEEP_STATE_QUEUED
        refused = await failure(
            sweeping.operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=f"operations/{running_id}"))
        )
        assert refused.reason == "SWEEP_NOT_OVER"
        await sweeping.cancel(queued_id)
        await sweeping.cancel(running_id)
        operation = await sweeping.wait(running_id)
        assert operation.done
        assert operation.error.code == grpc.StatusCode.CANCELLED.value[0]
        found = await sweeping.get(running_id)
        assert found.state == pb.SWEEP_STATE_CANCELLED
        assert [result.done for result in found.results] == [True, False, True, False]
        assert len(found.results[0].activations) == 6
        assert len(found.results[1].activations) == 0
        assert found.row_step_count >= 12 * 40
        assert (await sweeping.explanations(running_id, 2, rows=[0]))[0].seed == 3
        refused = await failure(sweeping.explanations(running_id, 1))
        assert refused.reason == "RESULT_NOT_DONE"
        assert (await sweeping.wait(queued_id)).error.code == grpc.StatusCode.CANCELLED.value[0]
        assert not any(result.done for result in (await sweeping.get(queued_id)).results)
        await sweeping.cancel(running_id)  # over: stays as it is
        assert started.server.registry.get_sample_value("explainer_sweeps_total", {"state": "cancelled"}) == 2
        started.backend.step_s = 0.0
        resumed = await sweeping.resume(running_id)
        assert (await sweeping.wait(resumed)).HasField("response")
        assert all(result.done for result in (await sweeping.get(resumed)).results)
        assert (await sweeping.wait(await sweeping.create(sweep()))).HasField("response")  # the next one runs


async def test_operations_are_listed_in_pages_waited_for_and_deleted(tiny: TinyBundle) -> None:
    async with running(tiny, max_waiting_sweeps=3, sweep_heartbeat_s=0.05) as started:
        started.backend.step_s = 0.01
        sweeping = Sweeping.of(started.channel)
        made = [await sweeping.create(sweep(grid=SLOW, seed_count=2 + index)) for index in range(3)]
        refused = await failure(sweeping.create(sweep(grid=SLOW)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SWEEPS")
        assert refused.retry_after_s
        listed, token = [], ""
        while True:
            request = operations_pb2.ListOperationsRequest(name="operations", page_size=2, page_token=token)
            page = await sweeping.operations.ListOperations(request)
            listed += page.operations
            token = page.next_page_token
            if not token:
                break
        assert [each.name for each in listed] == [f"operations/{each}" for each in reversed(made)]
        assert all(metadata(each).model == "models/tiny" for each in listed)
        waiting = await sweeping.wait(made[0], 0.1)
        assert not waiting.done
        request = operations_pb2.ListOperationsRequest(name="operations", filter="x")
        refused = await failure(sweeping.operations.ListOperations(request))
        assert refused.violations[0].field == "filter"
        for each in made:
            await sweeping.cancel(each)
            assert (await sweeping.wait(each)).done
            await sweeping.delete(each)
            gone = await failure(sweeping.metadata(each))
            assert gone.reason == "SWEEP_NOT_FOUND"


async def test_a_watch_is_dropped_and_opened_again(tiny: TinyBundle) -> None:
    async with running(tiny, sweep_heartbeat_s=0.02) as started:
        started.backend.step_s = 0.005
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(grid=pb.SweepGrid(learning_rates=[0.1], prior_weights=[0], steps=[100])))

        async def watch(after: int, most: int) -> list[pb.SweepMetadata]:
            seen = []
            call = sweeping.explainer.WatchSweep(pb.WatchSweepRequest(name=f"sweeps/{sweep_id}", after=after))
            async for event in call:
                seen.append(event.progress)
                if len(seen) == most:
                    call.cancel()
                    break
            return seen

        first = await watch(0, 3)
        rest = await watch(first[-1].sequence, 10**6)
        sequences = [each.sequence for each in first + rest]
        assert sequences == sorted(set(sequences))
        assert rest[-1].state == pb.SWEEP_STATE_SUCCEEDED
        assert rest[-1].row_steps_done == rest[-1].row_step_count == 600
        assert [each.row_steps_done for each in rest] == sorted(each.row_steps_done for each in rest)
        assert await watch(rest[-1].sequence, 1) == []  # over, and nothing new
        assert len(await watch(0, 10)) == 1
        refused = await failure(watch(rest[-1].sequence + 1, 1))
        assert refused.violations[0].field == "after"


async def test_a_server_that_stops_ends_its_watches_and_the_next_one_goes_on(tiny: TinyBundle, tmp_path: Path) -> None:
    settings = {"data_dir": tmp_path, "sweep_heartbeat_s": 0.05, "sweep_rows": 4}
    async with running(tiny) as started:
        sweeping = Sweeping.of(started.channel)
        await sweeping.wait(whole := await sweeping.create(sweep()))
        uninterrupted = await sweeping.get(whole)
    async with running(tiny, **settings) as started:
        started.backend.step_s = 0.005
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep())
        await sweeping.until(sweep_id, 100)
        watching = asyncio.create_task(sweeping.until(sweep_id, 10**6))
        await asyncio.sleep(0.1)
        stopping = asyncio.create_task(started.server.stop())
        refused = await failure(watching)
        assert refused.reason == "DRAINING"
        await stopping
    async with running(tiny, **settings) as started:
        sweeping = Sweeping.of(started.channel)
        resumed = await sweeping.metadata(sweep_id)
        assert resumed.row_steps_done >= 100
        assert (await sweeping.wait(sweep_id)).HasField("response")
        found = await sweeping.get(sweep_id)
    assert found.row_step_count == uninterrupted.row_step_count
    for mine, theirs in zip(found.results, uninterrupted.results, strict=True):
        assert list(mine.best_steps) == list(theirs.best_steps)
        np.testing.assert_allclose(array(mine.latents), array(theirs.latents), atol=TOLERANCE)


async def test_progress_of_a_sweep_that_goes_on_begins_where_it_was(
    tiny: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"data_dir": tmp_path, "sweep_heartbeat_s": 0.05}
    async with running(tiny, **settings) as started:
        started.backend.step_s = 0.005
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep())
        await sweeping.until(sweep_id, 100)
    read = SweepStore.checkpoints

    def slowly(store: SweepStore, key: int) -> list[Checkpoint]:
        time.sleep(0.5)
        return read(store, key)

    monkeypatch.setattr(SweepStore, "checkpoints", slowly)
    async with running(tiny, **settings) as started:
        watching = Sweeping.of(started.channel).explainer.WatchSweep(pb.WatchSweepRequest(name=f"sweeps/{sweep_id}"))
        seen = [event.progress.row_steps_done async for event in watching]
        assert seen[0] >= 100
        assert seen == sorted(seen)


async def test_those_who_wait_take_no_place_of_those_who_work(tiny: TinyBundle) -> None:
    """One caller with a watch for each place kept every other out."""
    async with running(tiny, max_concurrent_rpcs=2) as started:
        started.backend.step_s = 0.02
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(grid=SLOW))
        request = pb.WatchSweepRequest(name=f"sweeps/{sweep_id}")
        watches = [sweeping.explainer.WatchSweep(request) for _ in range(2)]
        for each in watches:
            assert (await each.read()).progress.sweep == f"sweeps/{sweep_id}"
        assert (await sweeping.get(sweep_id)).name == f"sweeps/{sweep_id}"
        for one_more in (anext(aiter(sweeping.explainer.WatchSweep(request))), sweeping.wait(sweep_id)):
            refused = await failure(one_more)
            assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WAITS")
        watches[0].cancel()
        await sweeping.cancel(sweep_id)
        states = []
        while (event := await watches[1].read()) is not grpc.aio.EOF:
            states.append(event.progress.state)
        assert states[-1] == pb.SWEEP_STATE_CANCELLED
        again = [event.progress.state async for event in sweeping.explainer.WatchSweep(request)]
        assert again == [pb.SWEEP_STATE_CANCELLED], "a place that was given back"


async def test_callers_go_first(tiny: TinyBundle) -> None:
    async with running(tiny, sweep_yield_s=30, sweep_heartbeat_s=0.02) as started:
        started.backend.step_s = 0.01
        sweeping = Sweeping.of(started.channel)
        sweep_id = await sweeping.create(sweep(grid=SLOW))
        await sweeping.until(sweep_id, 12)
        steps = started.backend.steps
        await started.explain(search(*seeds(2), steps=50))
        own = 51
        assert started.backend.steps - steps <= own + 12  # the sweep's steps in flight when the call came and went
        await sweeping.cancel(sweep_id)
