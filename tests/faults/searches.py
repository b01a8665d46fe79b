"""Searches whose right answers are known from a run without faults."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.rpc.tensors import decode
from tests.helpers.services import PATIENCE_S, Service

TOLERANCE = 1e-5
"""Of latents: what a batch of other rows around a row may change in it."""
FC3_0 = pb.Objective(layer="fc3", unit=0, sense=pb.SENSE_MAXIMISE)
SETTINGS = {"learning_rate": 0.05, "prior_weight": 0.01}
Latents = dict[int, NDArray[np.float32]]
"""Of each seed."""


def search(seeds: Sequence[int], steps: int) -> pb.Search:
    """One row of the tiny bundle for each seed."""
    rows = [pb.Row(seed=seed) for seed in seeds]
    return pb.Search(model="models/tiny", objective=FC3_0, settings=pb.Settings(steps=steps, **SETTINGS), rows=rows)


def sweep(seed_count: int, steps: int, reference: str = "") -> pb.Sweep:
    """The same searches of the seeds from 0, as a sweep of one setting."""
    grid = pb.SweepGrid(
        learning_rates=[SETTINGS["learning_rate"]], prior_weights=[SETTINGS["prior_weight"]], steps=[steps]
    )
    objective = pb.SweepObjective(objective=FC3_0, reference=reference)
    return pb.Sweep(model="models/tiny", objectives=[objective], grid=grid, seed_count=seed_count)


async def explain(channel: grpc.aio.Channel, message: pb.Search, timeout_s: float | None = None) -> pb.ExplainResponse:
    """The unary call."""
    stub: Any = explainer_pb2_grpc.ExplainerServiceStub(channel)
    answer: pb.ExplainResponse = await stub.Explain(pb.ExplainRequest(search=message), timeout=timeout_s)
    return answer


async def stream(channel: grpc.aio.Channel, message: pb.Search) -> pb.ExplainResponse:
    """The same by the streaming call, put together as the unary one's answer; AssertionError for one that is cut."""
    stub: Any = explainer_pb2_grpc.ExplainerServiceStub(channel)
    answer = pb.ExplainResponse()
    async for event in stub.StreamExplain(pb.StreamExplainRequest(search=message)):
        if event.HasField("explanation"):
            answer.explanations.append(event.explanation)
        elif event.HasField("summary"):
            answer.summary.CopyFrom(event.summary)
    assert answer.HasField("summary"), "a stream ended well without its summary"
    return answer


def latents(answer: pb.ExplainResponse) -> Latents:
    """What was found, by seed."""
    return {each.seed: decode(each.latent, "latent") for each in answer.explanations}


def like(expected: Latents) -> Callable[[pb.ExplainResponse], bool]:
    """Whether an answer's rows are those of a run without faults."""

    def right(answer: pb.ExplainResponse) -> bool:
        found = latents(answer)
        return bool(found) and all(close(found[seed], expected[seed]) for seed in found)

    return right


def close(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return bool(np.allclose(found, expected, rtol=0, atol=TOLERANCE))


async def steps_of(explainer: Service) -> float:
    """Search steps that the explainer has evaluated."""
    return await explainer.metric("explainer_steps_total", model="tiny")


async def until_steps(explainer: Service, count: int) -> None:
    """Return when so many more steps are done."""
    first = await steps_of(explainer)

    async def done() -> bool:
        return await steps_of(explainer) >= first + count

    await until(done)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds; TimeoutError when that takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 -- another process has no event to wait for
            await asyncio.sleep(0.02)
