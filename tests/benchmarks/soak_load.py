"""The callers of the soak: what each does over and over, and a record of every call."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import numpy as np

from earwitness.client import (
    ExplainerClient,
    Grid,
    Model,
    Objective,
    Progress,
    ReferenceIdentity,
    RpcFailure,
    ScorerClient,
    Search,
    Selection,
    Settings,
    SweepClient,
    SweepObjective,
    SweepPlan,
)

TIMEOUT_S = 120.0
GRID = Grid(learning_rates=(0.01, 0.1), prior_weights=(0.001,), steps=(2, 4))
LONG_GRID = Grid(learning_rates=(0.01, 0.1), prior_weights=(0.001,), steps=(200,))
KEPT = "soak-kept"
LEFT = "left"
"""In place of a status: the caller went away, as was meant."""
Kind = Literal["explain", "leave", "sweep", "cancel", "reference", "score", "read"]


@dataclass(frozen=True)
class Call:
    """One piece of a caller's work: when it ended, how long it took and the status that it ended with."""

    at_s: float
    kind: Kind
    seconds: float
    code: str

    @property
    def failed(self) -> bool:
        return self.code not in ("OK", LEFT)


@dataclass
class Load:
    """Callers of one stack; `calls` are those that are over, their times counted from `began_s`."""

    explainer: ExplainerClient
    sweeping: SweepClient
    scorer: ScorerClient
    model: Model
    began_s: float
    calls: list[Call] = field(default_factory=list)

    @property
    def objective(self) -> Objective:
        return Objective(self.model.output_layer.name, 0)

    @property
    def identity(self) -> ReferenceIdentity:
        return ReferenceIdentity.of_model(self.model, self.model.output_layer.name)

    @property
    def now_s(self) -> float:
        return time.monotonic() - self.began_s

    async def prepare(self) -> None:
        """The reference that sweeps are ranked against."""
        await self._build(KEPT, Random(0))

    async def run(self, callers: int, pause_s: float) -> None:
        """So many callers at once, each with a pause after each call, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(self._call_for_ever(Random(f"caller {number}"), pause_s))

    async def _call_for_ever(self, random: Random, pause_s: float) -> None:
        works: dict[Kind, Callable[[Random], Awaitable[str]]] = {
            "explain": self._explain,
            "leave": self._leave,
            "sweep": self._sweep,
            "cancel": self._cancel,
            "reference": self._reference,
            "score": self._score,
            "read": self._read,
        }
        while True:
            kind = random.choice(list(works))
            began = self.now_s
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    code = await works[kind](random)
            except RpcFailure as failure:
                code = f"{failure.code.name} {failure.reason}".strip()
            except TimeoutError:
                code = "no answer"
            now = self.now_s
            self.calls.append(Call(now, kind, now - began, code))
            await asyncio.sleep(random.uniform(0, 2 * pause_s))

    async def _explain(self, random: Random) -> str:
        artefacts = random.choice((["audio"], ["audio", "picture"], ["trajectory"], []))
        await self.explainer.explain(self._search(random, random.randint(1, 3), 4), artefacts=artefacts)
        return "OK"

    async def _leave(self, random: Random) -> str:
        """Goes away in the middle of a long search, some at once and some when it is under way."""
        heard = asyncio.Event()

        def hear(progress: Progress) -> None:
            heard.set()

        call = asyncio.create_task(self.explainer.explain(self._search(random, 2, 1000), on_progress=hear))
        if random.random() < 0.7:
            hearing = asyncio.create_task(heard.wait())
            await asyncio.wait({call, hearing}, return_when=asyncio.FIRST_COMPLETED)
            hearing.cancel()
        call.cancel()
        await asyncio.wait({call})
        if call.cancelled():
            return LEFT
        call.result()
        return "OK"

    async def _sweep(self, random: Random) -> str:
        started = await self.sweeping.create(self._plan(random, GRID))
        async for _ in self.sweeping.watch(started.sweep_id):
            pass
        ended = await self.sweeping.progress(started.sweep_id)
        found = await self.sweeping.get(started.sweep_id)
        await self.sweeping.explanations(started.sweep_id, 0, artefacts=["audio"])
        await self.sweeping.delete(started.sweep_id)
        if ended.state != "succeeded" or any(each.error for each in found.rankings):
            return f"{ended.state} {ended.error} {[each.error for each in found.rankings]}"
        return "OK"

    async def _cancel(self, random: Random) -> str:
        started = await self.sweeping.create(self._plan(random, LONG_GRID))
        await asyncio.sleep(random.uniform(0, 1))
        await self.sweeping.cancel(started.sweep_id)
        async for _ in self.sweeping.watch(started.sweep_id):
            pass
        await self.sweeping.delete(started.sweep_id)
        return "OK"

    async def _reference(self, random: Random) -> str:
        name = f"soak-{random.getrandbits(40):x}"
        await self._build(name, random)
        await self._score_against(name, random)
        await self.scorer.delete_reference(name)
        return "OK"

    async def _score(self, random: Random) -> str:
        await self._score_against(KEPT, random)
        return "OK"

    async def _read(self, random: Random) -> str:
        await self.explainer.list_models()
        await self.sweeping.list()
        await self.scorer.list_references()
        return "OK" if await self.explainer.serving() and await self.scorer.serving() else "NOT_SERVING"

    async def _build(self, name: str, random: Random) -> None:
        await self.scorer.create_reference(name, identity=self.identity, selection=Selection())
        for shard in range(3):
            await self.scorer.append_activations(name, f"shard {shard}", self._activations(random, 300))
        await self.scorer.freeze_reference(name)

    async def _score_against(self, name: str, random: Random) -> None:
        identity = self.identity
        await self.scorer.score(
            self._activations(random, 50), reference=name, model=identity.model,
            weights_sha256=identity.weights_sha256, layer=identity.layer, seed=random.getrandbits(20),
        )  # fmt: skip

    def _activations(self, random: Random, count: int) -> np.ndarray:
        generator = np.random.default_rng(random.getrandbits(32))
        return generator.standard_normal((count, self.identity.unit_count)).astype(np.float32)

    def _search(self, random: Random, rows: int, steps: int) -> Search:
        seed = random.getrandbits(40)
        return Search.of(self.model.name, self.objective, row_count=rows, seed=seed, settings=Settings(steps=steps))

    def _plan(self, random: Random, grid: Grid) -> SweepPlan:
        objective = SweepObjective(self.objective, KEPT)
        return SweepPlan(self.model.name, [objective], grid, seed_count=2, first_seed=random.getrandbits(40))
