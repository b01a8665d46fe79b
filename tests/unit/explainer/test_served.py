"""Calls to the models of a bundle: split into batches, timed, and given up in time."""

import asyncio

import numpy as np
import pytest

from earwitness.explainer.search import Budget
from earwitness.explainer.served import ServedBundle
from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.local import LocalBackend
from tests.helpers.tiny_bundle import LATENT, write_tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("models"))


@pytest.fixture
async def backend(tiny):
    opened = LocalBackend(tiny.repository, threads=1)
    yield opened
    await opened.close()


def served(tiny, backend, *, max_batch=256, timeout_s=10.0, seen=None):
    return ServedBundle(
        tiny.metadata,
        backend,
        max_batch=max_batch,
        calls_in_flight=2,
        call_timeout_s=timeout_s,
        observe=lambda role, seconds, failure: None if seen is None else seen.append((role, seconds, failure)),
    )


def search_inputs(tiny, rows):
    draw = np.random.default_rng(0)
    units = tiny.metadata.unit_count
    arrays = draw.normal(size=(rows, LATENT)), draw.normal(size=(rows, units)), np.full((rows, 1), 0.25)
    return [array.astype(np.float32) for array in arrays]


@pytest.mark.parametrize("max_batch", [1, 4, 10, 256])
async def test_batches_give_what_the_formulas_say(tiny, backend, max_batch) -> None:
    seen = []
    bundle = served(tiny, backend, max_batch=max_batch, seen=seen)
    inputs = search_inputs(tiny, 10)
    activation, gradient = await bundle.evaluate(*inputs)
    expected_activation, _, expected_gradient = tiny.search(*inputs)
    np.testing.assert_allclose(activation, expected_activation[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)
    assert [role for role, _, failure in seen if not failure] == ["search"] * -(-10 // max_batch)

    spectrograms, found = await bundle.forward(inputs[0], ["fc3", "conv1"], Budget())
    np.testing.assert_allclose(spectrograms, tiny.spectrogram(inputs[0]), rtol=1e-4, atol=1e-5)
    expected = tiny.layers(spectrograms)
    assert found.keys() == {"fc3", "conv1"}
    for layer, activations in found.items():
        np.testing.assert_allclose(activations, expected[layer], rtol=1e-4, atol=1e-5)


class Hanging:
    """A backend that never answers, but keeps to its time-outs."""

    def __init__(self):
        self.cancelled = 0

    async def infer(self, served_name, inputs, outputs, *, weights_sha256=None, timeout_s=None):
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_a_backend_without_an_answer_is_unavailable(tiny) -> None:
    with pytest.raises(InferenceUnavailable, match=r"tiny_search gave no answer within 0\.05 s"):
        await served(tiny, Hanging(), timeout_s=0.05).evaluate(*search_inputs(tiny, 2))


@pytest.mark.parametrize("max_batch", [1, 256])
async def test_the_callers_own_time_out_stays_one(tiny, max_batch) -> None:
    with pytest.raises(TimeoutError):
        await served(tiny, Hanging(), max_batch=max_batch).evaluate(*search_inputs(tiny, 6), timeout_s=0.05)


async def test_cancelling_cancels_every_call(tiny) -> None:
    hanging = Hanging()
    task = asyncio.create_task(served(tiny, hanging, max_batch=1).evaluate(*search_inputs(tiny, 6)))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    await asyncio.sleep(0)
    assert hanging.cancelled == 2  # the others had not begun
