"""The calls that the load is made of, on one connection to each server, as the clients of users make them."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import numpy as np
from grpc import StatusCode

from earwitness.bench.errors import BenchError
from earwitness.bench.values import Kind
from earwitness.client import (
    ExplainerClient,
    Grid,
    Objective,
    RpcFailure,
    ScorerClient,
    Search,
    Settings,
    SweepClient,
    SweepObjective,
    SweepPlan,
    SweepProgress,
)
from earwitness.client.channel import Tls
from earwitness.client.refusals import SweepNotFound, SweepNotOver
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.triton import TritonBackend

CALL_TIMEOUT_S = 60.0
SCORED_ROWS = 50
"""As many explanations as a setting of the paper's sweeps has."""
SWEEP_RATES = (0.1, 0.01)
"""A sweep tries these learning rates."""
CLEAR_S, RETRY_S = 4.0, 0.2
"""What clearing a sweep away may take, and between two tries: a process that receives SIGTERM has time for it twice."""
UNTOLD = (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED)
"""Failures that leave open whether a sweep was created."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """Where the servers are, and what opens them."""

    explainer: str
    scorer: str
    triton: str | None
    token: str | None
    tls: Tls | None


@dataclass(frozen=True)
class Work:
    """What every call asks for: searches of `rows` rows and `steps` steps, scores of a layer against a reference."""

    model: str
    weights_sha256: str
    objective_layer: str
    rows: int
    steps: int
    score_layer: str
    score_units: int
    reference: str


@dataclass(eq=False)
class _Begun:
    """A sweep that may be in the stack; its id is not known before the answer to its creation."""

    plan: SweepPlan
    request_id: str
    sweep_id: str | None = None


class Calls:
    """Makes calls of every kind; an asynchronous context manager."""

    def __init__(self, access: Access, work: Work, seed: int) -> None:
        self._work = work
        self._access = access
        self._next_seed = seed
        self._exit = AsyncExitStack()
        self._left: set[_Begun] = set()
        """Sweeps in the stack that are not deleted yet."""
        rng = np.random.default_rng(seed)
        self._activations = rng.standard_normal((SCORED_ROWS, work.score_units)).astype(np.float32)
        self._bundle: BundleMetadata | None = None

    async def __aenter__(self) -> Self:
        access = self._access
        self._explainer = ExplainerClient(access.explainer, token=access.token, tls=access.tls)
        self._sweeps = SweepClient(access.explainer, token=access.token, tls=access.tls)
        self._scorer = ScorerClient(access.scorer, token=access.token, tls=access.tls)
        for client in (self._explainer, self._sweeps, self._scorer):
            await self._exit.enter_async_context(client)
        if access.triton is not None:
            self._triton = TritonBackend(access.triton)
            self._exit.push_async_callback(self._triton.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.gather(*map(self._clear, tuple(self._left)))
        if self._left:
            _logger.warning("sweeps were left in the stack: %s", ", ".join(sorted(map(_name, self._left))))
        await self._exit.aclose()

    async def make(self, kind: Kind) -> int:
        """Make one call and wait for its answer; the row-steps done.

        Raises: RpcFailure, EarwitnessError or TimeoutError as the clients do.
        """
        match kind:
            case "explain":
                found = await self._explainer.explain(self._search(), timeout_s=CALL_TIMEOUT_S)
                return found.summary.row_step_count
            case "stream":
                found = await self._explainer.explain(
                    self._search(), on_progress=lambda progress: None, timeout_s=CALL_TIMEOUT_S
                )
                return found.summary.row_step_count
            case "score":
                await self._score()
                return 0
            case "sweep":
                return await self._sweep()
            case "infer":
                return await self._infer()

    def _seeds(self, count: int) -> int:
        """The first of so many seeds that no other call of this process had."""
        first = self._next_seed
        self._next_seed += count
        return first

    def _search(self) -> Search:
        work = self._work
        return Search.of(
            work.model,
            Objective(work.objective_layer, unit=0),
            row_count=work.rows,
            seed=self._seeds(work.rows),
            settings=Settings(steps=work.steps),
        )

    async def _score(self) -> None:
        work = self._work
        await self._scorer.score(
            self._activations,
            reference=work.reference,
            model=work.model,
            weights_sha256=work.weights_sha256,
            layer=work.score_layer,
            timeout_s=CALL_TIMEOUT_S,
        )

    async def _sweep(self) -> int:
        """A sweep from its creation to its end; deleted then, however that comes."""
        work = self._work
        plan = SweepPlan(
            work.model,
            [SweepObjective(Objective(work.objective_layer, unit=0))],
            Grid(SWEEP_RATES, (0.001,), (work.steps,)),
            seed_count=work.rows,
            first_seed=self._seeds(work.rows),
        )
        begun = _Begun(plan, str(uuid4()))
        self._left.add(begun)
        try:
            latest = await self._created(begun)
            async for progress in self._sweeps.watch(latest.sweep_id):
                latest = progress
        finally:
            await self._clear(begun)
        if latest.state != "succeeded":
            raise BenchError(f"sweep {latest.sweep_id} {latest.state}: {latest.error}")
        return latest.row_steps_done

    async def _created(self, begun: _Begun) -> SweepProgress:
        """The sweep, created unless an earlier try did it: the service knows it by its request."""
        try:
            sweep = await self._sweeps.create(begun.plan, request_id=begun.request_id)
        except RpcFailure as failure:
            if failure.code not in UNTOLD:
                self._left.discard(begun)
            raise
        begun.sweep_id = sweep.sweep_id
        return sweep

    async def _clear(self, begun: _Begun) -> None:
        """End a sweep and delete it; what cannot be done now is left for the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEAR_S):
                while begun in self._left:
                    try:
                        sweep_id = begun.sweep_id or (await self._created(begun)).sweep_id
                        await self._sweeps.delete(sweep_id)
                        self._left.discard(begun)
                    except SweepNotFound:  # an earlier try did it, and its answer was lost
                        self._left.discard(begun)
                    except RpcFailure as failure:
                        if isinstance(failure, SweepNotOver) and begun.sweep_id is not None:
                            with suppress(RpcFailure):
                                await self._sweeps.cancel(begun.sweep_id)
                        await asyncio.sleep(RETRY_S)

    async def _infer(self) -> int:
        """One step of a search of as many rows, by Triton's search model."""
        work = self._work
        bundle = self._bundle or await self._bundle_of(work.model)
        self._bundle = bundle
        rows = work.rows
        weights = np.zeros((rows, bundle.unit_count), np.float32)
        weights[:, bundle.output_layer.first_unit] = 1
        latents = np.random.default_rng(self._seeds(rows)).standard_normal((rows, bundle.latent_size))
        inputs = {
            "z": latents.astype(np.float32),
            "unit_weights": weights,
            "prior_weight": np.full((rows, 1), 0.001, np.float32),
        }
        await self._triton.infer(
            bundle.served_name("search"), inputs, ("activation", "objective", "gradient"), timeout_s=CALL_TIMEOUT_S
        )
        return rows

    async def _bundle_of(self, model: str) -> BundleMetadata:
        bundles: Sequence[BundleMetadata] = await self._triton.bundles()
        return next(bundle for bundle in bundles if bundle.name == model)


def _name(begun: _Begun) -> str:
    return begun.sweep_id or f"of request {begun.request_id}"
