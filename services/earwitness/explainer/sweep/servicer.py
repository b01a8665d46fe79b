"""The gRPC face of sweeps: decode, call, encode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from earwitness.errors import InvalidArgument
from earwitness.explainer import convert as searches
from earwitness.explainer.plan import Artefact
from earwitness.explainer.room import Room, response_bytes
from earwitness.explainer.sweep import convert, sizes
from earwitness.explainer.sweep.record import State, SweepRecord
from earwitness.explainer.sweep.sweeps import Sweeps, View
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc
from earwitness.rpc.context import RETURN_MARGIN_S, time_remaining_s
from earwitness.rpc.interceptor import ServicerContext
from earwitness.rpc.pages import fitting
from earwitness.rpc.validate import duration_s, page_request, uuid4
from earwitness.vocabulary.messages.score import criterion_value
from earwitness.vocabulary.messages.search import artefact_values
from earwitness.vocabulary.messages.sweep import ranking_message
from earwitness.vocabulary.names import OPERATIONS

BASIC = View()


class SweepServicer(explainer_pb2_grpc.ExplainerServiceServicer):
    """The methods of ExplainerService that are about sweeps."""

    def __init__(self, sweeps: Sweeps, max_response_bytes: int) -> None:
        self._sweeps = sweeps
        self._max_response_bytes = max_response_bytes

    async def CreateSweep(  # noqa: N802
        self, request: pb.CreateSweepRequest, context: ServicerContext
    ) -> operations_pb2.Operation:
        """See the proto."""
        request_id = uuid4(request.request_id, "request_id")
        if not request.resume_from:
            plan = convert.plan(request.sweep, self._sweeps.max_settings)
            return await _operation(self._sweeps, await self._sweeps.create(request_id, plan))
        if request.HasField("sweep"):
            raise InvalidArgument("sweep", "is set beside resume_from, which asks for what that sweep asked; give one")
        source = convert.sweep_id(request.resume_from, "resume_from")
        return await _operation(self._sweeps, await self._sweeps.resume(request_id, source))

    async def GetSweep(self, request: pb.GetSweepRequest, context: ServicerContext) -> pb.GetSweepResponse:  # noqa: N802
        """See the proto."""
        record = await self._sweeps.get(convert.sweep_id(request.name))
        view = View(
            rows=request.view != pb.SWEEP_VIEW_BASIC,
            tensors=request.view == pb.SWEEP_VIEW_TENSORS,
            numbers=request.result_indices or None,
        )
        limit = response_bytes(request.max_response_bytes, self._max_response_bytes)
        held = await self._sweeps.held(record, view, limit)
        response = pb.GetSweepResponse(sweep=await asyncio.to_thread(convert.sweep, record, held))
        sizes.require_view(response.ByteSize(), limit, response.sweep, len(held.stored))
        return response

    async def WatchSweep(  # noqa: N802
        self, request: pb.WatchSweepRequest, context: ServicerContext
    ) -> AsyncIterator[pb.WatchSweepResponse]:
        """See the proto."""
        async with aclosing(self._sweeps.watch(convert.sweep_id(request.name), request.after)) as records:
            async for record in records:
                yield pb.WatchSweepResponse(progress=convert.metadata(record))

    async def StreamSweepExplanations(  # noqa: N802
        self, request: pb.StreamSweepExplanationsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.StreamSweepExplanationsResponse]:
        """See the proto."""
        found = self._sweeps.explanations(
            convert.sweep_id(request.name),
            request.result_index,
            request.row_indices,
            frozenset(map(Artefact, artefact_values(request.artefacts))),
            Room.of(request.max_response_bytes, self._max_response_bytes, whole=False),
        )
        async with aclosing(found) as explanations:
            async for each in explanations:
                yield pb.StreamSweepExplanationsResponse(explanation=searches.explanation_message(each))

    async def RankSweep(self, request: pb.RankSweepRequest, context: ServicerContext) -> pb.RankSweepResponse:  # noqa: N802
        """See the proto."""
        limit = response_bytes(request.max_response_bytes, self._max_response_bytes)
        rankings = await self._sweeps.rank(
            convert.sweep_id(request.name),
            list(request.references),
            limit,
            criterion_value(request.criterion) if request.HasField("criterion") else None,
            request.keep_count,
        )
        return pb.RankSweepResponse(rankings=map(ranking_message, rankings))


class OperationsServicer(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]
    """google.longrunning.Operations over sweeps."""

    def __init__(self, sweeps: Sweeps) -> None:
        self._sweeps = sweeps

    async def GetOperation(  # noqa: N802
        self, request: operations_pb2.GetOperationRequest, context: ServicerContext
    ) -> operations_pb2.Operation:
        """The operation as it is."""
        return await _operation(self._sweeps, await self._sweeps.get(convert.operation_id(request.name)))

    async def WaitOperation(  # noqa: N802
        self, request: operations_pb2.WaitOperationRequest, context: ServicerContext
    ) -> operations_pb2.Operation:
        """The operation when it is done, or when `timeout` or the caller's time is up."""
        left_s = time_remaining_s(context)
        limits = [] if left_s is None else [left_s - RETURN_MARGIN_S]
        if request.HasField("timeout"):
            limits.append(duration_s(request.timeout, "timeout"))
        record = await self._sweeps.wait(convert.operation_id(request.name), min(limits) if limits else None)
        return await _operation(self._sweeps, record)

    async def ListOperations(  # noqa: N802
        self, request: operations_pb2.ListOperationsRequest, context: ServicerContext
    ) -> operations_pb2.ListOperationsResponse:
        """Operations, the newest first, in short; `name` is "operations" or empty, filters are not known."""
        if request.name not in ("", OPERATIONS):
            raise InvalidArgument("name", f"is {request.name!r}; must be {OPERATIONS!r}")
        if request.filter:
            raise InvalidArgument("filter", "is set; leave it empty, every operation is listed")
        # Ids are of the second only, keys of the microsecond: of one second's sweeps, too, the newest is the first.
        page = page_request(request.page_size, request.page_token, filters=f"{OPERATIONS} by key")
        found = await self._sweeps.page(int(page.after) if page.after else None, page.size + 1)
        operations = [convert.listed(record) for record in found[: page.size]]
        count = fitting(operations)
        return operations_pb2.ListOperationsResponse(
            operations=operations[:count],
            next_page_token=page.next_token(str(found[count - 1].key)) if len(found) > count else "",
        )

    async def CancelOperation(  # noqa: N802
        self, request: operations_pb2.CancelOperationRequest, context: ServicerContext
    ) -> Empty:
        """Asks that the sweep stops; what is done is kept. One that is over stays as it is."""
        await self._sweeps.cancel(convert.operation_id(request.name))
        return Empty()

    async def DeleteOperation(  # noqa: N802
        self, request: operations_pb2.DeleteOperationRequest, context: ServicerContext
    ) -> Empty:
        """Deletes the sweep with all that it holds; refused while it runs or waits."""
        await self._sweeps.delete(convert.operation_id(request.name))
        return Empty()


async def _operation(sweeps: Sweeps, record: SweepRecord) -> operations_pb2.Operation:
    if record.state is not State.SUCCEEDED:
        return sizes.operation(record, None)
    return sizes.operation(record, convert.sweep(record, await sweeps.held(record, BASIC)))
