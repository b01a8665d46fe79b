"""`TritonBackend` against the real server: the same results as in process, and errors that leave the server alive."""

import asyncio
import re
import urllib.request

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from earwitness.inference.backend import InferenceBackend, InferenceFailed, InferenceOverloaded, ModelNotServed
from earwitness.inference.factory import open_backend
from earwitness.inference.local import LocalBackend
from tests.e2e.conftest import RunningTriton
from tests.helpers.probe_model import probe_inputs

SECOND = 100_000
"""About a second's iterations of the probe model."""


@pytest.fixture
async def backend(triton: RunningTriton):
    backend = open_backend("triton", triton_url=triton.grpc_url)
    yield backend
    await backend.close()


@pytest.fixture
async def local(triton: RunningTriton):
    backend = LocalBackend(triton.repository, threads=1)
    yield backend
    await backend.close()


async def statistics(triton: RunningTriton, model: str) -> tuple[int, int, int]:
    """Rows run, batches run and requests answered well since the server started, once they stand still.

    Triton counts a request after it has answered it.
    """
    counts, last = None, None
    async with grpc.aio.insecure_channel(triton.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while counts is None or counts != last:
            await asyncio.sleep(0.1)
            last = counts
            (counts,) = (await stub.ModelStatistics(service_pb2.ModelStatisticsRequest(name=model))).model_stats
    return counts.inference_count, counts.execution_count, counts.inference_stats.success.count


async def test_the_bundle_is_discovered(triton: RunningTriton, backend: InferenceBackend):
    assert "not reached yet" in backend.description
    assert await backend.ready()
    assert list(await backend.bundles()) == [triton.bundle.metadata]
    assert backend.description == f"triton at {triton.grpc_url} (2.51.0)"


@pytest.mark.parametrize("rows", [1, 3, 50, 256, 600])
async def test_triton_and_in_process_agree_with_the_closed_form(triton, backend, local, rows: int):
    rng = np.random.default_rng(rows)
    z, weights = (rng.normal(size=(rows, size)).astype(np.float32) for size in (6, 10))
    prior = rng.uniform(0, 0.1, (rows, 1)).astype(np.float32)
    inputs = {"z": z, "unit_weights": weights, "prior_weight": prior}
    names = ["gradient", "activation", "objective"]
    served, in_process = (
        await backend.infer("tiny_search", inputs, names),
        await local.infer("tiny_search", inputs, names),
    )
    expected = dict(zip(["activation", "objective", "gradient"], triton.bundle.search(z, weights, prior), strict=True))
    for name in names:
        assert served[name].dtype == np.float32
        np.testing.assert_array_equal(served[name], in_process[name])
        np.testing.assert_allclose(served[name], expected[name], atol=5e-6)


async def test_every_output_of_the_classifier_comes_back_under_its_name(triton, backend):
    x = triton.bundle.spectrogram(np.random.default_rng(0).normal(size=(4, 6))).astype(np.float32)
    expected = triton.bundle.layers(x) | {"probability": triton.bundle.probability(x)}
    found = await backend.infer("tiny_classifier", {"spectrogram": x}, list(expected))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=5e-6)


async def test_concurrent_requests_run_as_one_batch(triton, backend):
    before = await statistics(triton, "probe")
    first = asyncio.create_task(backend.infer("probe", probe_inputs(0, iterations=3 * SECOND), ["y"]))
    await asyncio.sleep(1)  # while it runs, the others gather in the queue
    answers = await asyncio.gather(
        first, *(backend.infer("probe", probe_inputs(i, index=i % 4, rows=1 + i % 2), ["y"]) for i in range(10))
    )
    assert [answer["y"].tolist() for answer in answers[1:]] == [[[i + i % 4]] * (1 + i % 2) for i in range(10)]
    rows, batches, requests = np.subtract(await statistics(triton, "probe"), before)
    assert (rows, requests) == (16, 11)
    assert batches <= 3


async def test_a_request_that_fails_does_not_fail_its_batch_mates(triton, backend):
    first = asyncio.create_task(backend.infer("probe", probe_inputs(0, iterations=SECOND // 2), ["y"]))
    await asyncio.sleep(0.1)
    outcomes = await asyncio.gather(
        *(backend.infer("probe", probe_inputs(i, index=99 if i == 2 else 0), ["y"]) for i in range(5)),
        return_exceptions=True,
    )
    await first
    assert isinstance(outcomes[2], InferenceFailed)
    assert "out of data bounds" in outcomes[2].message
    assert [float(outcomes[i]["y"][0, 0]) for i in (0, 1, 3, 4)] == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("model", "change", "outputs", "message"),
    [
        ("tiny_search", {"z": np.ones((2, 5))}, ["gradient"], "unexpected shape for input 'z'"),
        ("tiny_search", {"z": np.ones((3, 6))}, ["gradient"], "batch"),
        ("tiny_search", {}, ["gradients"], "unexpected inference output 'gradients'"),
        ("tiny_search", {"prior": np.ones((2, 1))}, ["gradient"], "expected 3 inputs but got 4"),
    ],
)
async def test_a_bad_request_is_refused_and_the_server_lives(backend, local, model, change, outputs, message):
    inputs = {"z": np.ones((2, 6)), "unit_weights": np.ones((2, 10)), "prior_weight": np.ones((2, 1))}
    with pytest.raises(InferenceFailed, match=message):
        await backend.infer(model, inputs | change, outputs)
    with pytest.raises(InferenceFailed):
        await local.infer(model, inputs | change, outputs)
    assert len(await backend.infer("tiny_search", inputs, ["gradient"])) == 1


async def test_an_unknown_model_is_not_found(backend, local):
    for each in (backend, local):
        with pytest.raises(ModelNotServed, match="tiny_sarch does not exist"):
            await each.infer("tiny_sarch", {"z": np.ones((2, 6))}, ["gradient"])


async def test_the_time_limit_holds(backend):
    with pytest.raises(TimeoutError, match=r"probe did not answer within 0\.2 s"):
        await backend.infer("probe", probe_inputs(1, iterations=3 * SECOND), ["y"], timeout_s=0.2)
    assert (await backend.infer("probe", probe_inputs(2), ["y"], timeout_s=60))["y"] == 2


async def failures(triton: RunningTriton, model: str) -> dict[str, int]:
    """Requests to the model that failed, by Triton's reason."""
    with await asyncio.to_thread(urllib.request.urlopen, triton.metrics_url) as page:
        pattern = rf'^nv_inference_request_failure{{model="{model}",reason="(\w+)",.*}} (\d+)'
        return {reason: int(count) for reason, count in re.findall(pattern, page.read().decode(), re.M)}


async def test_a_request_cancelled_while_it_waits_is_dropped_and_counted(triton, backend):
    """By Triton, which does so for a model with a queue policy only: the model is not asked at all."""
    before, cancelled = await statistics(triton, "probe"), (await failures(triton, "probe"))["CANCELED"]
    first = asyncio.create_task(backend.infer("probe", probe_inputs(0, iterations=3 * SECOND), ["y"]))
    await asyncio.sleep(1)  # it runs, alone
    waiting = [
        asyncio.create_task(backend.infer("probe", probe_inputs(1, iterations=100 * SECOND), ["y"])) for _ in range(3)
    ]
    while await triton.pending("probe") < 3:
        assert not first.done(), "the requests that should wait were not queued in time"
    for each in waiting:
        each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await each
    await first
    assert (await backend.infer("probe", probe_inputs(2), ["y"], timeout_s=60))["y"] == 2
    rows, _, answered = np.subtract(await statistics(triton, "probe"), before)
    assert (rows, answered) == (2, 2)
    assert (await failures(triton, "probe"))["CANCELED"] == cancelled + 3


async def test_a_full_queue_and_a_wait_too_long_are_overload(triton, backend):
    """Worth another try: neither is Triton away nor did the model fail."""
    first = asyncio.create_task(backend.infer("narrow", probe_inputs(0, iterations=4 * SECOND), ["y"]))
    await asyncio.sleep(1)  # it runs, and one request may wait
    others = [asyncio.create_task(backend.infer("narrow", probe_inputs(i), ["y"])) for i in range(3)]
    refused = await asyncio.gather(*others, return_exceptions=True)
    assert not first.done(), "the queue was empty too early"
    assert {type(each) for each in refused} == {InferenceOverloaded}
    words = sorted("Exceeds maximum queue size" in str(each) for each in refused)
    assert words == [False, True, True]
    assert sum("Request timeout expired" in str(each) for each in refused) == 1
    await first
    assert (await backend.infer("narrow", probe_inputs(2), ["y"], timeout_s=60))["y"] == 2


async def test_triton_tells_prometheus_what_it_ran(triton, backend):
    await backend.infer("tiny_generator", {"z": np.ones((3, 6))}, ["spectrogram"])
    with await asyncio.to_thread(urllib.request.urlopen, triton.metrics_url) as page:
        assert 'nv_inference_count{model="tiny_generator",version="1"}' in page.read().decode()
