"""The gRPC face of the explainer: decode, call, encode."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from earwitness.explainer import convert
from earwitness.explainer.explainer import Explainer
from earwitness.explainer.plan import Artefact
from earwitness.explainer.room import Room
from earwitness.explainer.search import Progress
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.servicer import SweepServicer
from earwitness.explainer.sweep.sweeps import Sweeps
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.rpc.context import time_remaining_s
from earwitness.rpc.interceptor import ServicerContext
from earwitness.rpc.pages import fitting
from earwitness.rpc.validate import page, page_request, resource_id
from earwitness.vocabulary.messages.search import artefact_values, search_value
from earwitness.vocabulary.names import MODELS


class ExplainerServicer(SweepServicer):
    """earwitness.explainer.v1.ExplainerService; errors are raised and mapped by the server's interceptor."""

    def __init__(self, explainer: Explainer, sweeps: Sweeps, settings: ExplainerSettings) -> None:
        super().__init__(sweeps, settings.max_response_bytes)
        self._explainer = explainer
        self._progress_interval_s = settings.progress_interval_s

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: ServicerContext
    ) -> pb.ListModelsResponse:
        """See the proto."""
        bundles = await self._explainer.models()
        chosen, token = page(bundles, lambda bundle: bundle.name, request.page_size, request.page_token)
        models = [convert.model_message(bundle) for bundle in chosen]
        if (count := fitting(models)) < len(models):
            token = page_request(request.page_size, "").next_token(chosen[count - 1].name)
        unusable = {} if request.page_token else await self._explainer.unusable_models()
        return pb.ListModelsResponse(
            models=models[:count],
            next_page_token=token,
            unusable_models=[pb.UnusableModel(name=f"models/{name}", cause=why) for name, why in unusable.items()],
        )

    async def GetModel(self, request: pb.GetModelRequest, context: ServicerContext) -> pb.GetModelResponse:  # noqa: N802
        """See the proto."""
        bundle = await self._explainer.model(resource_id(request.name, MODELS, "name"))
        return pb.GetModelResponse(model=convert.model_message(bundle))

    async def Explain(self, request: pb.ExplainRequest, context: ServicerContext) -> pb.ExplainResponse:  # noqa: N802
        """See the proto."""
        found = await self._explainer.search(
            search_value(request.search, self._explainer.max_rows),
            frozenset(map(Artefact, artefact_values(request.artefacts))),
            time_left_s=time_remaining_s(context),
            room=Room.of(request.max_response_bytes, self._max_response_bytes, whole=True),
        )
        response, shortfall = pb.ExplainResponse(), convert.Shortfall()
        async for each in self._explainer.explanations(found):
            response.explanations.append(convert.explanation_message(each))
            shortfall.add(each)
        response.summary.CopyFrom(convert.summary_message(found, shortfall))
        return response

    async def StreamExplain(  # noqa: N802
        self, request: pb.StreamExplainRequest, context: ServicerContext
    ) -> AsyncIterator[pb.StreamExplainResponse]:
        """See the proto. The search is a task of its own: a slow reader misses progress but does not hold it up."""
        latest: list[Progress] = []

        def on_progress(progress: Progress) -> None:
            latest[:] = [progress]

        searching = asyncio.create_task(
            self._explainer.search(
                search_value(request.search, self._explainer.max_rows),
                frozenset(map(Artefact, artefact_values(request.artefacts))),
                time_left_s=time_remaining_s(context),
                room=Room.of(request.max_response_bytes, self._max_response_bytes, whole=False),
                on_progress=on_progress,
            )
        )
        try:
            while not searching.done():
                await asyncio.wait({searching}, timeout=self._progress_interval_s)
                while latest:
                    yield pb.StreamExplainResponse(progress=convert.progress_message(latest.pop()))
            found = await searching
        finally:
            searching.cancel()  # and wait: its slot is free before the call is over
            await asyncio.gather(searching, return_exceptions=True)
        shortfall = convert.Shortfall()
        async with aclosing(self._explainer.explanations(found)) as explanations:
            async for each in explanations:
                yield pb.StreamExplainResponse(explanation=convert.explanation_message(each))
                shortfall.add(each)
        yield pb.StreamExplainResponse(summary=convert.summary_message(found, shortfall))
