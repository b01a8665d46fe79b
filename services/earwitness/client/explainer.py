"""The explainer's client: models, and searches with progress."""

from collections.abc import Callable, Sequence

from earwitness.client import explainer_messages as messages
from earwitness.client.channel import MAX_MESSAGE_BYTES, Tls
from earwitness.client.errors import failures, malformed
from earwitness.client.service import DEFAULT_TIMEOUT_S, ServiceClient
from earwitness.client.values import Artefact, Model, Progress, Search, SearchResult
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.explainer.v1 import explainer_pb2_grpc as rpc
from earwitness.vocabulary.messages.enums import number
from earwitness.vocabulary.messages.search import ARTEFACTS, progress_value, search_message
from earwitness.vocabulary.names import resource

ALL_ARTEFACTS: tuple[Artefact, ...] = ("audio", "picture", "trajectory")


class ExplainerClient(ServiceClient):
    """Calls `earwitness.explainer.v1.ExplainerService`.

    Every method raises `RpcFailure` when the service refuses or cannot be reached, and takes a deadline, `timeout_s`.
    Every call here is read-only, so each is tried again while the service is unavailable.

    Example:
        async with ExplainerClient("127.0.0.1:50051") as explainer:
            model = await explainer.get_model("svd-r1")
            search = Search.of("svd-r1", Objective(model.output_layer.name, unit=0), row_count=8)
            result = await explainer.explain(search, artefacts=["audio"], on_progress=print)
    """

    service = "earwitness.explainer.v1.ExplainerService"
    idempotent_methods = ("ListModels", "GetModel", "Explain", "StreamExplain")
    list_method = "ListModels"

    def __init__(self, target: str, *, token: str | None = None, tls: Tls | None = None) -> None:
        super().__init__(target, token=token, tls=tls)
        self._stub: rpc.ExplainerServiceAsyncStub = rpc.ExplainerServiceStub(self._channel)

    async def list_models(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[Model]:
        """Every model that can be explained, in the order of their names."""
        models: list[Model] = []
        token = ""
        while True:
            with failures(self.target):
                answer = await self._stub.ListModels(
                    pb.ListModelsRequest(page_token=token), timeout=timeout_s, metadata=self._metadata
                )
            models += map(messages.model_value, answer.models)
            token = answer.next_page_token
            if not token:
                return models

    async def unusable_models(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> dict[str, str]:
        """The models that are there and cannot be explained, by name, each with the cause."""
        with failures(self.target):
            answer = await self._stub.ListModels(
                pb.ListModelsRequest(page_size=1), timeout=timeout_s, metadata=self._metadata
            )
        return {each.name.removeprefix("models/"): each.cause for each in answer.unusable_models}

    async def get_model(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Model:
        """The model of that name, e.g. `svd-r1`."""
        with failures(self.target):
            answer = await self._stub.GetModel(
                pb.GetModelRequest(name=resource("models", name)), timeout=timeout_s, metadata=self._metadata
            )
        return messages.model_value(answer.model)

    async def explain(
        self,
        search: Search,
        *,
        artefacts: Sequence[Artefact] = (),
        on_progress: Callable[[Progress], None] | None = None,
        timeout_s: float | None = None,
    ) -> SearchResult:
        """Run a search; near the deadline the best so far comes back, the last rows perhaps without sound and picture,
        and `summary.stopped_by` says so.

        With `on_progress` the search is streamed, and the function is called with every progress event. Cancelling the
        call stops the search within one step.
        """
        wanted = [number(ARTEFACTS, artefact) for artefact in artefacts]
        message = search_message(search)
        if on_progress is not None:
            request = pb.StreamExplainRequest(search=message, artefacts=wanted, max_response_bytes=MAX_MESSAGE_BYTES)
            return await self._stream(request, on_progress, timeout_s)
        asked = pb.ExplainRequest(search=message, artefacts=wanted, max_response_bytes=MAX_MESSAGE_BYTES)
        with failures(self.target):
            answer = await self._stub.Explain(asked, timeout=timeout_s, metadata=self._metadata)
        return SearchResult(
            tuple(map(messages.explanation_value, answer.explanations)), messages.summary_value(answer.summary)
        )

    async def _stream(
        self, request: pb.StreamExplainRequest, on_progress: Callable[[Progress], None], timeout_s: float | None
    ) -> SearchResult:
        explanations = []
        with failures(self.target):
            async for event in self._stub.StreamExplain(request, timeout=timeout_s, metadata=self._metadata):
                kind = event.WhichOneof("event")
                if kind == "progress":
                    on_progress(progress_value(event.progress))
                elif kind == "explanation":
                    explanations.append(messages.explanation_value(event.explanation))
                elif kind == "summary":
                    return SearchResult(tuple(explanations), messages.summary_value(event.summary))
        raise malformed(self.target, "the stream of explanations ended without its summary")
