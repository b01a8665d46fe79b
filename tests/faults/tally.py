"""What became of the calls that were made while something failed, counted."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from earwitness.rpc.errors import RpcFailure, error_from_rpc
from tests.helpers.services import PATIENCE_S

RECORD = "EARWITNESS_FAULTS_RECORD"
"""Environment variable with the file that counts are added to."""
HANG_S = 120.0
"""A call without an end after so long hangs: no wait that is promised here is half as long on an idle machine."""
RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a caller may try again without a change: the last with more time."""

Answer = TypeVar("Answer")


@dataclass
class Tally:
    """The counts of one fault test, and figures that it measured by the way."""

    fault: str
    injections: int = 0
    ok: int = 0
    retryable: Counter[str] = field(default_factory=Counter)
    final: Counter[str] = field(default_factory=Counter)
    """Statuses that tell a caller to give up, which no fault of ours may."""
    hangs: int = 0
    wrong: int = 0
    """Answers that are not those of a run without the fault, and what was acknowledged and is lost or counted twice."""
    figures: dict[str, float] = field(default_factory=dict)

    async def call(
        self, call: Awaitable[Answer], right: Callable[[Answer], bool] = lambda _: True
    ) -> Answer | RpcFailure | None:
        """Count a call when it is over: its answer, or how it failed; None when it hangs."""
        try:
            answer = await asyncio.wait_for(call, HANG_S)
        except TimeoutError:
            self.hangs += 1
            return None
        except (grpc.aio.AioRpcError, RpcFailure) as err:
            failure = err if isinstance(err, RpcFailure) else error_from_rpc(err)
            (self.retryable if failure.code in RETRYABLE else self.final)[failure.code.name] += 1
            return failure
        self.ok += 1
        self.judge(right(answer))
        return answer

    async def persist(
        self, make: Callable[[], Awaitable[Answer]], right: Callable[[Answer], bool] = lambda _: True
    ) -> Answer:
        """Count calls until one goes well, as a caller makes them who does what the statuses tell; its answer."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.call(make(), right)
                assert found is not None, "a call hangs"
                if not isinstance(found, RpcFailure):
                    return found
                await asyncio.sleep(0.5)

    def judge(self, right: bool) -> None:
        """Count a result that is looked at after its call."""
        self.wrong += not right

    def require_promises(self) -> None:
        """What holds whatever fails."""
        assert self.injections, "nothing was made to fail"
        assert self.ok, "nothing went well"
        assert (self.hangs, self.wrong, self.final) == (0, 0, Counter()), self

    def record(self, path: Path) -> None:
        """Add a line of JSON to a file, which several processes may do."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as lines:
            lines.write(json.dumps(vars(self)) + "\n")
