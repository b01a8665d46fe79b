"""The explainer's client for sweeps."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import uuid4

import grpc
import grpc.aio
from google.longrunning import operations_pb2, operations_pb2_grpc

from earwitness.client import explainer_messages, sweep_messages
from earwitness.client.channel import MAX_MESSAGE_BYTES, Tls
from earwitness.client.errors import RpcFailure, failures
from earwitness.client.service import DEFAULT_TIMEOUT_S, ServiceClient
from earwitness.client.sweep_values import Sweep, SweepPlan, SweepProgress, SweepRanking, SweepResult
from earwitness.client.values import Artefact, Criterion, Explanation
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc as rpc
from earwitness.vocabulary.messages.enums import number
from earwitness.vocabulary.messages.score import criterion_message
from earwitness.vocabulary.messages.search import ARTEFACTS
from earwitness.vocabulary.messages.sweep import plan_message
from earwitness.vocabulary.names import OPERATIONS, resource

REOPEN_S = 1.0
"""Between tries to open a watch again."""
STOOD_S = 30.0
"""A watch that lasted so long was open, though nothing was said: no try to connect takes longer."""
RANK_TIMEOUT_S = 600.0
RESULTS_AT_ONCE = 4
"""Results whose tensors come in one answer."""


class SweepClient(ServiceClient):
    """Calls the sweeps of `earwitness.explainer.v1.ExplainerService` and their google.longrunning.Operations.

    Every method raises `RpcFailure` when the service refuses or cannot be reached. Sweeps are given by their ids.

    Example:
        async with SweepClient("127.0.0.1:50051") as sweeps:
            plan = SweepPlan("svd-r1", [SweepObjective(Objective("fc9", unit=0), reference="voices")])
            started = await sweeps.create(plan)
            async for progress in sweeps.watch(started.sweep_id):
                print(progress.time_left_s)
            best = (await sweeps.get(started.sweep_id)).rankings[0].batches[0]
    """

    service = "earwitness.explainer.v1.ExplainerService"
    idempotent_methods = ("CreateSweep", "GetSweep", "WatchSweep", "StreamSweepExplanations", "RankSweep")
    list_method = "ListModels"

    def __init__(self, target: str, *, token: str | None = None, tls: Tls | None = None) -> None:
        super().__init__(target, token=token, tls=tls)
        self._stub: rpc.ExplainerServiceAsyncStub = rpc.ExplainerServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)

    async def create(
        self, plan: SweepPlan, *, request_id: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> SweepProgress:
        """Start a sweep; with the `request_id` (a UUID4) of an earlier call, the sweep that it started."""
        request = pb.CreateSweepRequest(request_id=request_id or str(uuid4()), sweep=plan_message(plan))
        with failures(self.target):
            answer = await self._stub.CreateSweep(request, timeout=timeout_s, metadata=self._metadata)
        return sweep_messages.operation_value(answer)

    async def resume(
        self, sweep_id: str, *, request_id: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> SweepProgress:
        """Start a sweep that goes on where a failed or cancelled one stopped; `request_id` as of `create`."""
        request = pb.CreateSweepRequest(request_id=request_id or str(uuid4()), resume_from=resource("sweeps", sweep_id))
        with failures(self.target):
            answer = await self._stub.CreateSweep(request, timeout=timeout_s, metadata=self._metadata)
        return sweep_messages.operation_value(answer)

    async def get(
        self, sweep_id: str, *, tensors: Sequence[int] | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> Sweep:
        """A sweep with the rows of its results; or with rows and tensors of those results in `tensors` alone."""
        request = pb.GetSweepRequest(name=resource("sweeps", sweep_id), max_response_bytes=MAX_MESSAGE_BYTES)
        if tensors is not None:
            request.view = pb.SWEEP_VIEW_TENSORS
            request.result_indices.extend(tensors)
        with failures(self.target):
            answer = await self._stub.GetSweep(request, timeout=timeout_s, metadata=self._metadata)
        return sweep_messages.sweep_value(answer.sweep)

    async def results(self, sweep_id: str, indices: Sequence[int]) -> tuple[SweepResult, ...]:
        """Results that are done, with their tensors."""
        found: list[SweepResult] = []
        for start in range(0, len(indices), RESULTS_AT_ONCE):
            part = indices[start : start + RESULTS_AT_ONCE]
            answer = await self.get(sweep_id, tensors=part)
            found += [answer.results[index] for index in part]
        return tuple(found)

    async def progress(self, sweep_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> SweepProgress:
        """How a sweep goes, with the error that ended it."""
        request = operations_pb2.GetOperationRequest(name=resource(OPERATIONS, sweep_id))
        with failures(self.target):
            answer = await self._operations.GetOperation(request, timeout=timeout_s, metadata=self._metadata)
        return sweep_messages.operation_value(answer)

    async def watch(self, sweep_id: str, *, after: int = 0, patience_s: float = 60.0) -> AsyncGenerator[SweepProgress]:
        """How a sweep goes, until it is over: the state now when newer than `after`, then every change.

        The stream is opened again where it broke off, until that has failed for `patience_s`; a sweep that waits may be
        silent for as long as it likes.
        """
        loop = asyncio.get_running_loop()
        failing_since_s: float | None = None
        while True:
            opened_s = loop.time()
            request = pb.WatchSweepRequest(name=resource("sweeps", sweep_id), after=after)
            call = self._stub.WatchSweep(request, metadata=self._metadata)
            try:
                with failures(self.target):
                    async for event in call:
                        failing_since_s, after = None, event.progress.sequence
                        yield sweep_messages.progress_value(event.progress)
                return
            except RpcFailure as failure:
                now_s = loop.time()
                if failing_since_s is None or now_s - opened_s > STOOD_S:
                    failing_since_s = now_s
                if failure.code is not grpc.StatusCode.UNAVAILABLE or now_s - failing_since_s > patience_s:
                    raise
            finally:
                call.cancel()
            await asyncio.sleep(REOPEN_S)

    async def list(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> tuple[SweepProgress, ...]:
        """Every sweep, the newest first."""
        found: tuple[SweepProgress, ...] = ()
        request = operations_pb2.ListOperationsRequest(name=OPERATIONS)
        while True:
            with failures(self.target):
                page = await self._operations.ListOperations(request, timeout=timeout_s, metadata=self._metadata)
            found += tuple(map(sweep_messages.operation_value, page.operations))
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return found

    async def cancel(self, sweep_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask that a sweep stops; what is done is kept."""
        request = operations_pb2.CancelOperationRequest(name=resource(OPERATIONS, sweep_id))
        with failures(self.target):
            await self._operations.CancelOperation(request, timeout=timeout_s, metadata=self._metadata)

    async def delete(self, sweep_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Delete a sweep that is over, with all that it holds."""
        request = operations_pb2.DeleteOperationRequest(name=resource(OPERATIONS, sweep_id))
        with failures(self.target):
            await self._operations.DeleteOperation(request, timeout=timeout_s, metadata=self._metadata)

    async def explanations(
        self,
        sweep_id: str,
        result_index: int,
        *,
        artefacts: Sequence[Artefact] = (),
        rows: Sequence[int] = (),
        timeout_s: float | None = None,
    ) -> tuple[Explanation, ...]:
        """The explanations of one result, of all its rows or of some, given by their places among the seeds."""
        request = pb.StreamSweepExplanationsRequest(
            name=resource("sweeps", sweep_id),
            result_index=result_index,
            artefacts=[number(ARTEFACTS, each) for each in artefacts],
            row_indices=rows,
            max_response_bytes=MAX_MESSAGE_BYTES,
        )
        found = []
        with failures(self.target):
            call = self._stub.StreamSweepExplanations(request, timeout=timeout_s, metadata=self._metadata)
            async for event in call:
                found.append(explainer_messages.explanation_value(event.explanation))
        return tuple(found)

    async def rank(
        self,
        sweep_id: str,
        references: Sequence[str] = (),
        *,
        criterion: Criterion | None = None,
        keep_count: int = 0,
        timeout_s: float = RANK_TIMEOUT_S,
    ) -> tuple[SweepRanking, ...]:
        """Rank a sweep that is over: against `references`, one for each objective, by `criterion`, of the `keep_count`
        nearest rows of each result; by the sweep's own where they are not given."""
        names = [resource("references", each) if each else "" for each in references]
        request = pb.RankSweepRequest(
            name=resource("sweeps", sweep_id),
            references=names,
            max_response_bytes=MAX_MESSAGE_BYTES,
            criterion=None if criterion is None else criterion_message(criterion),
            keep_count=keep_count,
        )
        with failures(self.target):
            answer = await self._stub.RankSweep(request, timeout=timeout_s, metadata=self._metadata)
        return tuple(map(sweep_messages.ranking_value, answer.rankings))
