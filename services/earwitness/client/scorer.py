"""The scorer's client: references and scores."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from earwitness.client import scorer_messages as messages
from earwitness.client.channel import Tls, open_channel
from earwitness.client.errors import RpcFailure, answer_lost, failures, malformed
from earwitness.client.partials import Partial, VersionStatistics
from earwitness.client.service import DEFAULT_TIMEOUT_S, ServiceClient
from earwitness.client.values import (
    Criterion,
    KeptLayer,
    MeasuredNearness,
    Nearness,
    Ranking,
    Reference,
    ReferenceIdentity,
    ReferenceVersion,
    ScoredBatch,
    Selection,
)
from earwitness.errors import InvalidArgument
from earwitness.rpc import tensors
from earwitness.rpc.tensors import Numbers
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc as rpc
from earwitness.vocabulary.limits import MAX_TENSOR_BYTES
from earwitness.vocabulary.messages.reference import reference_value, selection_message, version_value
from earwitness.vocabulary.messages.score import criterion_message, ranked_value, score_value
from earwitness.vocabulary.names import resource

RANK_TIMEOUT_S = 120.0
"""Deadline of a ranking, which takes longer the more batches and units there are."""

STATISTICS_TIMEOUT_S = 120.0
"""Deadline of statistics on their way, up to 160 MiB of them."""

ATTEMPTS = 8
"""To send a shard whose answer is lost, as may happen when it comes before the rest of the shard has gone out."""

_Answer = TypeVar("_Answer")


class ScorerClient(ServiceClient):
    """Calls `earwitness.scorer.v1.ScorerService`.

    Every method raises `RpcFailure` when the service refuses or cannot be reached, and takes a deadline, `timeout_s`.
    All but `delete_reference`, and `freeze_reference` with an etag, may be repeated safely (request ids, shard ids), so
    they are tried again while the service is unavailable.
    """

    service = "earwitness.scorer.v1.ScorerService"
    idempotent_methods = (
        "CreateReference",
        "AppendActivations",
        "MergeStatistics",
        "ReadStatistics",
        "FreezeReference",
        "GetReference",
        "ListReferences",
        "Score",
        "Rank",
        "MeasureNearness",
    )
    list_method = "ListReferences"

    def __init__(self, target: str, *, token: str | None = None, tls: Tls | None = None) -> None:
        super().__init__(target, token=token, tls=tls)
        self._stub: rpc.ScorerServiceAsyncStub = rpc.ScorerServiceStub(self._channel)
        # What is tried again is a channel's to say, of a method whatever it is asked.
        self._once = open_channel(target, tls=tls, service=self.service, idempotent_methods=())
        self._stub_once: rpc.ScorerServiceAsyncStub = rpc.ScorerServiceStub(self._once)

    async def close(self) -> None:
        """See `ServiceClient`."""
        await self._once.close()
        await super().close()

    async def create_reference(
        self,
        name: str,
        *,
        identity: ReferenceIdentity,
        selection: Selection,
        description: str = "",
        kept_layers: Sequence[KeptLayer] = (),
        request_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Reference:
        """An empty reference for one layer of one model.

        With `kept_layers`, the identity's among them, its rows hold the activations of all of these, in their order.
        With a `request_id`, a UUID of version 4, the reference that the same request made before, as it is now.
        """
        request = pb.CreateReferenceRequest(
            request_id=request_id or str(uuid.uuid4()),
            reference_id=name,
            reference=pb.Reference(
                model=f"models/{identity.model}",
                weights_sha256=identity.weights_sha256,
                layer=identity.layer,
                unit_count=identity.unit_count,
                feature_profile=identity.feature_profile,
                selection=selection_message(selection),
                description=description,
                kept_layers=[pb.KeptLayer(name=each.name, unit_count=each.unit_count) for each in kept_layers],
            ),
        )
        with failures(self.target):
            answer = await self._stub.CreateReference(request, timeout=timeout_s, metadata=self._metadata)
        return reference_value(answer.reference)

    async def append_activations(
        self, reference: str, shard_id: str, activations: Numbers, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> bool:
        """Add one shard `[rows, units]`, of all layers that the reference keeps; False when a shard of that id and
        these contents was there already.

        Numbers travel as float32 where that holds all of them exactly, else as float64.
        """
        if activations.ndim != 2:
            raise InvalidArgument("activations", f"have shape {activations.shape}; give [rows, units]")
        datatype, data = tensors.wire_bytes(_exact(activations))
        header = pb.AppendActivationsRequest(
            header=pb.ShardHeader(
                reference=resource("references", reference),
                shard_id=shard_id,
                row_count=len(activations),
                sha256=hashlib.sha256(data).hexdigest(),
                datatype=datatype,
            )
        )
        answer = await self._answered(
            lambda: self._stub.AppendActivations(
                messages.shard_messages(header, data), timeout=timeout_s, metadata=self._metadata
            )
        )
        return not answer.duplicate

    async def merge_statistics(
        self, reference: str, shard_id: str, partial: Partial, *, timeout_s: float = STATISTICS_TIMEOUT_S
    ) -> bool:
        """Merge the statistics of rows elsewhere, as if they had been appended; False when they were there already.

        They are one shard: its id belongs to them alone among all that is appended to, or merged into, the reference.
        """
        data = partial.to_bytes()
        header = pb.MergeStatisticsRequest(
            header=pb.PartialHeader(
                reference=resource("references", reference),
                shard_id=shard_id,
                row_count=partial.row_count,
                sha256=hashlib.sha256(data).hexdigest(),
                form=messages.partial_form(partial),
                datatype=partial.datatype,
            )
        )
        answer = await self._answered(
            lambda: self._stub.MergeStatistics(
                messages.shard_messages(header, data), timeout=timeout_s, metadata=self._metadata
            )
        )
        return not answer.duplicate

    async def read_statistics(self, reference: str, *, timeout_s: float = STATISTICS_TIMEOUT_S) -> VersionStatistics:
        """The statistics of a version of a reference, `NAME` (its newest) or `NAME/versions/N`, with both.

        Merged into an empty reference of the same identity and selection they make a version that scores the same.
        """
        request = pb.ReadStatisticsRequest(name=resource("references", reference))
        header, data = pb.StatisticsHeader(), bytearray()
        with failures(self.target):
            async for answer in self._stub.ReadStatistics(request, timeout=timeout_s, metadata=self._metadata):
                if answer.HasField("header"):
                    header = answer.header
                data += answer.chunk
        try:
            return messages.statistics_value(header, bytes(data))
        except ValueError as err:
            raise malformed(self.target, f"ReadStatistics: {err}") from err

    async def freeze_reference(
        self, name: str, *, etag: str = "", timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> ReferenceVersion:
        """An immutable version of what the reference holds now; the last one when nothing was added since.

        With an `etag` it is asked once: freezing changes the etag, so that a second try after a lost answer would be
        refused for what the first one did.
        """
        request = pb.FreezeReferenceRequest(name=resource("references", name), etag=etag)
        stub = self._stub_once if etag else self._stub
        with failures(self.target):
            answer = await stub.FreezeReference(request, timeout=timeout_s, metadata=self._metadata)
        return version_value(answer.version)

    async def get_reference(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Reference:
        """The reference of that name, with its versions."""
        request = pb.GetReferenceRequest(name=resource("references", name))
        with failures(self.target):
            answer = await self._stub.GetReference(request, timeout=timeout_s, metadata=self._metadata)
        return reference_value(answer.reference)

    async def list_references(
        self, *, model: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Reference]:
        """Every reference (of one model), in the order of their names."""
        references: list[Reference] = []
        request = pb.ListReferencesRequest(model=resource("models", model) if model else "")
        while True:
            with failures(self.target):
                answer = await self._stub.ListReferences(request, timeout=timeout_s, metadata=self._metadata)
            references += map(reference_value, answer.references)
            request.page_token = answer.next_page_token
            if not request.page_token:
                return references

    async def delete_reference(self, name: str, *, etag: str = "", timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Delete a reference with all its versions."""
        request = pb.DeleteReferenceRequest(name=resource("references", name), etag=etag)
        with failures(self.target):
            await self._stub.DeleteReference(request, timeout=timeout_s, metadata=self._metadata)

    async def score(
        self,
        activations: Numbers,
        *,
        reference: str,
        model: str,
        weights_sha256: str,
        layer: str,
        unit: int | None = None,
        seed: int = 0,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> ScoredBatch:
        """Fréchet distance of `activations` `[rows, units]` against a reference, `NAME` or `NAME/versions/N`.

        With `unit`, that unit alone is compared; its column, `[rows, 1]`, does then as well. Rows of all layers that
        the reference keeps always do. `seed` draws the interval and the noise floor.
        """
        request = pb.ScoreRequest(
            reference=resource("references", reference),
            model=resource("models", model),
            weights_sha256=weights_sha256,
            layer=layer,
            activations=tensors.encode(_exact(activations)),
            unit=unit,
            seed=seed,
        )
        with failures(self.target):
            answer = await self._stub.Score(request, timeout=timeout_s, metadata=self._metadata)
        return ScoredBatch(score_value(answer.score), version_value(answer.version))

    async def rank(
        self,
        batches: Mapping[str, Numbers],
        *,
        reference: str,
        model: str,
        weights_sha256: str,
        layer: str,
        unit: int | None = None,
        seed: int = 0,
        criterion: Criterion | None = None,
        timeout_s: float = RANK_TIMEOUT_S,
    ) -> Ranking:
        """Batches of activations, each `[rows, units]` of one shape, by their distance to a reference, or by
        `criterion`, best first.

        The key is the batch's id. Row i of every batch should come from the same seed: `probability_best` compares
        them so. The rest is as for `score`, but that of layers too large for a message only the column of `unit`
        travels: without a criterion batches hold the layer alone. One over layers needs the units of all that the
        reference keeps.
        """
        request = pb.RankRequest(
            reference=resource("references", reference),
            model=resource("models", model),
            weights_sha256=weights_sha256,
            layer=layer,
            batches=[
                pb.Batch(id=each, activations=tensors.encode(_exact(rows)))
                for each, rows in (batches if criterion else _compared(batches, unit)).items()
            ],
            unit=unit,
            seed=seed,
            criterion=None if criterion is None else criterion_message(criterion),
        )
        with failures(self.target):
            answer = await self._stub.Rank(request, timeout=timeout_s, metadata=self._metadata)
        return Ranking(tuple(map(ranked_value, answer.batches)), version_value(answer.version))

    async def measure_nearness(
        self,
        activations: Numbers,
        *,
        reference: str,
        model: str,
        weights_sha256: str,
        nearness: Nearness | None = None,
        timeout_s: float = RANK_TIMEOUT_S,
    ) -> MeasuredNearness:
        """How near `activations` `[rows, units of all layers that the reference keeps]` are to the rows of a reference
        of top or bottom rows, `NAME` or `NAME/versions/N`."""
        request = pb.MeasureNearnessRequest(
            reference=resource("references", reference),
            model=resource("models", model),
            weights_sha256=weights_sha256,
            layers=nearness.layers if nearness else (),
            activations=tensors.encode(_exact(activations)),
            neighbour_count=nearness.neighbour_count if nearness else 0,
        )
        with failures(self.target):
            answer = await self._stub.MeasureNearness(request, timeout=timeout_s, metadata=self._metadata)
        try:
            return messages.nearness_value(answer)
        except InvalidArgument as err:
            raise malformed(self.target, f"MeasureNearness: {err}") from err

    async def _answered(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer to a shard, which is sent again when it is lost."""
        attempts_left = ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                with failures(self.target):
                    return await call()
            except RpcFailure as failure:
                if not (attempts_left and answer_lost(failure)):
                    raise


def _exact(activations: Numbers) -> tensors.FloatTensor:
    """See `tensors.exact`. Raises: InvalidArgument."""
    try:
        return tensors.exact(activations)
    except ValueError as err:
        raise InvalidArgument("activations", str(err)) from err


def _compared(batches: Mapping[str, Numbers], unit: int | None) -> Mapping[str, Numbers]:
    """The column of `unit` alone where whole layers of many batches are too much for a message. All where there is no
    such column: the scorer says what is wrong."""
    if unit is None or sum(rows.nbytes for rows in batches.values()) <= MAX_TENSOR_BYTES:
        return batches
    return {each: rows[:, unit : unit + 1] if 0 <= unit < rows.shape[1] else rows for each, rows in batches.items()}
