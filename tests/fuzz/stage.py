"""What the fuzzed servers hold: the stack on the tiny bundle, references and sweeps to name, and how they are now."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import grpc.aio
import numpy as np
from google.longrunning import operations_pb2, operations_pb2_grpc

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import (
    ExplainerClient,
    Grid,
    Model,
    Objective,
    ReferenceIdentity,
    ScorerClient,
    Search,
    Selection,
    Settings,
    SweepClient,
    SweepObjective,
    SweepPlan,
)
from earwitness.explainer.server import OPERATIONS_NAME
from earwitness.explainer.server import SERVICE_NAME as EXPLAINER_NAME
from earwitness.scorer.server import SERVICE_NAME as SCORER_NAME
from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc
from tests.helpers.processes import resident_bytes
from tests.helpers.tiny_bundle import write_tiny_bundle

LAYER = "fc3"
SERVICES = ("", "live", EXPLAINER_NAME, OPERATIONS_NAME, SCORER_NAME)
"""What health may be asked for; each server knows some of them."""
LIMITS = {
    # What is right and long would be right for ever: nothing here takes longer than a moment.
    "EARWITNESS_EXPLAINER_MAX_STEPS": 20,
    "EARWITNESS_EXPLAINER_MAX_ROWS": 16,
    "EARWITNESS_EXPLAINER_MAX_SWEEP_ROW_STEPS": 500,
    "EARWITNESS_EXPLAINER_MAX_SWEEP_EXPLANATIONS": 100,
    "EARWITNESS_EXPLAINER_LOCAL_THREADS": 1,
    "EARWITNESS_EXPLAINER_LOG_LEVEL": "WARNING",
    "EARWITNESS_SCORER_LOG_LEVEL": "WARNING",
    "EARWITNESS_SCORER_COMPUTE_THREADS": 2,
    "OMP_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
}
VICTIMS = 16
SELECTIONS = {"whole": Selection(), "top": Selection("top", 0, 10), "open": Selection()}
"""Of the references that are always there; "open" has no version."""
SWEEP = Grid(learning_rates=(0.1,), prior_weights=(0.001,), steps=(1, 2))
References = Mapping[str, tuple[int, int, int]]
"""For each name the counts of rows, shards and versions."""


@dataclass
class Stage:
    """Running services and the names of what is in them; `victims` are there to be cancelled and deleted."""

    stack: Stack
    channels: Mapping[str, grpc.aio.Channel]
    explainer: ExplainerClient
    sweeping: SweepClient
    scorer: ScorerClient
    model: str = ""
    weights_sha256: str = ""
    identity: ReferenceIdentity | None = None
    sweeps: list[str] = field(default_factory=list)
    victims: list[str] = field(default_factory=list)
    etags: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    expected: dict[str, object] = field(default_factory=dict)
    """What `ordinary` answered before anything wrong was asked."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of everything, of each kind."""
        references = tuple(self.reference(each) for each in ("whole", "top", "open"))
        sweeps = tuple(f"{kind}/{each}" for kind in ("sweeps", "operations") for each in self.sweeps)
        return (self.model, *references, *sweeps, *SERVICES, *self.etags, *self.tokens.values())

    def reference(self, name: str) -> str:
        return f"references/{name}"

    def etag(self, random: Random) -> str:
        return random.choice(("", "", *self.etags))

    def token(self, random: Random, listed: str) -> str:
        return random.choice(("", "", *self.tokens.values(), self.tokens.get(listed, "")))

    async def prepare(self, method: str = "") -> None:
        """Make ready for requests to a method: what may have been deleted is back, what changes is looked up, and
        there is something to cancel or delete."""
        model = (await self.explainer.list_models())[0]
        self.model, self.weights_sha256 = f"models/{model.name}", model.weights_sha256
        self.identity = ReferenceIdentity.of_model(model, LAYER)
        there = {each.name: each for each in await self.scorer.list_references()}
        for name, selection in SELECTIONS.items():
            if name not in there:
                await self.scorer.create_reference(name, identity=self.identity, selection=selection)
                await self.scorer.append_activations(name, "first", activations(40))
                if name != "open":
                    await self.scorer.freeze_reference(name)
        self.etags = [(await self.scorer.get_reference(name)).etag for name in ("whole", "top")]
        alive = {each.sweep_id for each in await self.sweeping.list()}
        self.sweeps = [each for each in self.sweeps if each in alive]
        while len(self.sweeps) < 3:
            self.sweeps.append(await self.sweep(model, SWEEP, "whole" if self.sweeps else None))
        await self._look_up_tokens()
        self.victims = list(self.sweeps)
        if method == "DeleteReference":
            await self._stock_references()
        elif method in ("CancelOperation", "DeleteOperation"):
            await self._stock_sweeps(model)

    async def _stock_references(self) -> None:
        """References to delete."""
        assert self.identity is not None
        self.victims = []
        for index in range(VICTIMS):
            self.victims.append(f"victim-{index}")
            await self.scorer.create_reference(self.victims[-1], identity=self.identity, selection=Selection())

    async def _stock_sweeps(self, model: Model) -> None:
        """Sweeps that are over, and some that run or wait, as long as they may be."""
        for _ in range(VICTIMS // 2):
            self.victims.append(await self.sweep(model, SWEEP, None))
        slow = Grid(learning_rates=tuple(0.01 * (1 + each) for each in range(12)), prior_weights=(0.0,), steps=(20,))
        for _ in range(3):
            self.victims.append((await self.sweeping.create(plan(model, slow, None, 2))).sweep_id)

    async def sweep(self, model: Model, grid: Grid, reference: str | None) -> str:
        """The id of a sweep that is over."""
        made = await self.sweeping.create(plan(model, grid, reference, 3))
        async for _ in self.sweeping.watch(made.sweep_id):
            pass
        return made.sweep_id

    async def settle(self) -> None:
        """Return when no sweep runs or waits."""
        for each in await self.sweeping.list():
            async for _ in self.sweeping.watch(each.sweep_id):
                pass

    async def references_now(self) -> References:
        return {
            f"references/{each.name}": (each.row_count, each.shard_count, len(each.versions))
            for each in await self.scorer.list_references()
        }

    async def sweeps_now(self) -> set[str]:
        return {each.sweep_id for each in await self.sweeping.list()}

    async def ordinary(self) -> dict[str, object]:
        """What ordinary calls of every kind answer; the same whatever else has been asked."""
        model = (await self.explainer.list_models())[0]
        identity = ReferenceIdentity.of_model(model, LAYER)
        search = Search.of(model.name, Objective(LAYER, 0), row_count=3, settings=Settings(steps=5))
        found = await self.explainer.explain(search, artefacts=["audio"])
        await self.scorer.create_reference("ordinary", identity=identity, selection=Selection())
        await self.scorer.append_activations("ordinary", "one", activations(40, seed=1))
        await self.scorer.freeze_reference("ordinary")
        batch = activations(8, seed=2)
        of = {"reference": "ordinary", "model": model.name, "weights_sha256": model.weights_sha256, "layer": LAYER}
        score = (await self.scorer.score(batch, **of)).score
        ranking = await self.scorer.rank({"a": batch, "b": batch * 2}, **of)
        sweep_id = await self.sweep(model, SWEEP, "ordinary")
        swept = await self.sweeping.get(sweep_id, tensors=[0, 1])
        await self.sweeping.delete(sweep_id)
        await self.scorer.delete_reference("ordinary")
        return {
            "latents": [each.latent.tobytes() for each in found.explanations],
            "sounds": [each.audio_wav for each in found.explanations],
            "score": score,
            "ranking": [(each.id, each.score) for each in ranking.batches],
            "sweep": [(each.done, each.activations.tobytes()) for each in swept.results],
        }

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each service."""
        return {name: resident_bytes(self.stack.endpoints.process_ids[name]) for name in ("explainer", "scorer")}

    async def _look_up_tokens(self) -> None:
        """Page tokens that the servers gave out."""
        scorer = scorer_pb2_grpc.ScorerServiceStub(self.channels["scorer"])
        operations = operations_pb2_grpc.OperationsStub(self.channels["explainer"])
        references = await scorer.ListReferences(scorer_pb2.ListReferencesRequest(page_size=1))
        sweeps = await operations.ListOperations(operations_pb2.ListOperationsRequest(page_size=1))
        self.tokens = {"references": references.next_page_token, "operations": sweeps.next_page_token}


def plan(model: Model, grid: Grid, reference: str | None, seed_count: int) -> SweepPlan:
    return SweepPlan(model.name, [SweepObjective(Objective(LAYER, 0), reference)], grid, seed_count)


def activations(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 2)).astype(np.float32)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """The services as processes, models in process, on small limits; their data, logs among them, in `folder`."""
    write_tiny_bundle(folder / "models")
    settings = StackSettings(folder / "models", folder / "data", "local", ports=Ports(0, 0, 0, 0, 0, 0))
    with mock.patch.dict(os.environ, {name: str(value) for name, value in LIMITS.items()}):
        async with Stack(settings) as stack:
            addresses = {"explainer": stack.endpoints.explainer, "scorer": stack.endpoints.scorer}
            async with (
                grpc.aio.insecure_channel(addresses["explainer"]) as explaining,
                grpc.aio.insecure_channel(addresses["scorer"]) as scoring,
                ExplainerClient(addresses["explainer"]) as explainer,
                SweepClient(addresses["explainer"]) as sweeping,
                ScorerClient(addresses["scorer"]) as scorer,
            ):
                channels = {"explainer": explaining, "scorer": scoring}
                stage = Stage(stack, channels, explainer, sweeping, scorer)
                await stage.prepare()
                stage.expected = await stage.ordinary()
                yield stage
