"""The gRPC face of the scorer: decode, call, encode."""

from collections.abc import AsyncIterator

from earwitness.rpc.interceptor import ServicerContext
from earwitness.rpc.tensors import encode
from earwitness.rpc.validate import page_request, uuid4
from earwitness.scorer import convert
from earwitness.scorer.scorer import Scorer
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from earwitness.vocabulary.messages.score import ranked_message, score_message


class ScorerServicer(scorer_pb2_grpc.ScorerServiceServicer):
    """earwitness.scorer.v1.ScorerService; errors are raised and mapped by the server's interceptor."""

    def __init__(self, scorer: Scorer, append_idle_s: float) -> None:
        self._scorer = scorer
        self._append_idle_s = append_idle_s

    async def CreateReference(  # noqa: N802
        self, request: pb.CreateReferenceRequest, context: ServicerContext
    ) -> pb.CreateReferenceResponse:
        """See the proto."""
        request_id = uuid4(request.request_id, "request_id")
        reference = await self._scorer.create(request_id, convert.new_reference(request))
        return pb.CreateReferenceResponse(reference=convert.reference_message(reference))

    async def AppendActivations(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.AppendActivationsRequest], context: ServicerContext
    ) -> pb.AppendActivationsResponse:
        """See the proto."""
        parts = convert.within(request_iterator, self._append_idle_s)
        first = await convert.header(parts, pb.AppendActivationsRequest())
        reference_id, shard = convert.shard(first.header)
        appended = await self._scorer.append(reference_id, shard, convert.chunks(parts))
        return pb.AppendActivationsResponse(row_count=appended.row_count, duplicate=appended.duplicate)

    async def MergeStatistics(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.MergeStatisticsRequest], context: ServicerContext
    ) -> pb.MergeStatisticsResponse:
        """See the proto."""
        parts = convert.within(request_iterator, self._append_idle_s)
        first = await convert.header(parts, pb.MergeStatisticsRequest())
        reference_id, shard = convert.shard(first.header)
        merged = await self._scorer.merge(reference_id, shard, convert.form(first.header), convert.chunks(parts))
        return pb.MergeStatisticsResponse(row_count=merged.row_count, duplicate=merged.duplicate)

    async def ReadStatistics(  # noqa: N802
        self, request: pb.ReadStatisticsRequest, context: ServicerContext
    ) -> AsyncIterator[pb.ReadStatisticsResponse]:
        """See the proto."""
        reference_id, number = convert.versioned_reference_id(request.name, "name")
        async with self._scorer.reading(reference_id, number) as reading:
            async for message in convert.statistics_messages(reading):
                yield message

    async def FreezeReference(  # noqa: N802
        self, request: pb.FreezeReferenceRequest, context: ServicerContext
    ) -> pb.FreezeReferenceResponse:
        """See the proto."""
        reference_id = convert.reference_id(request.name, "name")
        version = await self._scorer.freeze(reference_id, request.etag)
        return pb.FreezeReferenceResponse(version=convert.version_message(reference_id, version))

    async def GetReference(  # noqa: N802
        self, request: pb.GetReferenceRequest, context: ServicerContext
    ) -> pb.GetReferenceResponse:
        """See the proto."""
        reference = await self._scorer.get(convert.reference_id(request.name, "name"))
        return pb.GetReferenceResponse(reference=convert.reference_message(reference))

    async def ListReferences(  # noqa: N802
        self, request: pb.ListReferencesRequest, context: ServicerContext
    ) -> pb.ListReferencesResponse:
        """See the proto."""
        model = convert.model_id(request.model, "model") if request.model else ""
        wanted = page_request(request.page_size, request.page_token, filters=model)
        found = await self._scorer.list(model, wanted.after, wanted.size + 1)
        shown = found[: wanted.size]
        token = wanted.next_token(shown[-1].reference_id) if len(found) > wanted.size else ""
        return pb.ListReferencesResponse(references=map(convert.reference_message, shown), next_page_token=token)

    async def DeleteReference(  # noqa: N802
        self, request: pb.DeleteReferenceRequest, context: ServicerContext
    ) -> pb.DeleteReferenceResponse:
        """See the proto."""
        await self._scorer.delete(convert.reference_id(request.name, "name"), request.etag)
        return pb.DeleteReferenceResponse()

    async def Score(self, request: pb.ScoreRequest, context: ServicerContext) -> pb.ScoreResponse:  # noqa: N802
        """See the proto."""
        reference_id, number = convert.versioned_reference_id(request.reference, "reference")
        score, version = await self._scorer.score(reference_id, number, convert.batch(request))
        return pb.ScoreResponse(score=score_message(score), version=convert.version_message(reference_id, version))

    async def Rank(self, request: pb.RankRequest, context: ServicerContext) -> pb.RankResponse:  # noqa: N802
        """See the proto."""
        reference_id, number = convert.versioned_reference_id(request.reference, "reference")
        ranked, version = await self._scorer.rank(reference_id, number, convert.batches(request))
        return pb.RankResponse(
            batches=map(ranked_message, ranked), version=convert.version_message(reference_id, version)
        )

    async def MeasureNearness(  # noqa: N802
        self, request: pb.MeasureNearnessRequest, context: ServicerContext
    ) -> pb.MeasureNearnessResponse:
        """See the proto."""
        reference_id, number = convert.versioned_reference_id(request.reference, "reference")
        near = convert.near_rows(request)
        measured = await self._scorer.nearness(reference_id, number, near)
        return pb.MeasureNearnessResponse(
            distances=encode(measured.distances),
            layers=measured.layers,
            version=convert.version_message(reference_id, measured.version),
        )
