"""Who ranks the settings of a sweep: a `Ranker`, and the one that asks the scorer over gRPC."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
import grpc.aio

from earwitness import tracing
from earwitness.errors import EarwitnessError, InvalidArgument, NotFound
from earwitness.explainer.errors import ReferenceUnusable, ScorerUnavailable
from earwitness.explainer.objective import Direction, Objective, Sense
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.inference.backend import FloatArray
from earwitness.rpc import tensors
from earwitness.rpc.channel import channel_options
from earwitness.rpc.dialled import ClientTls, Dialled
from earwitness.rpc.errors import error_from_rpc
from earwitness.rpc.files import Watched
from earwitness.rpc.proxies import told
from earwitness.scorer.v1 import scorer_pb2, scorer_pb2_grpc

CHECK_TIMEOUT_S = 10.0
RANK_TIMEOUT_S = 600.0
MAX_RANK_BYTES = 15 * 2**20
"""Of activations in one request, as scorer.proto says."""
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
SCORER = scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"].full_name
REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DATA_LOSS,
)
"""Answers of the scorer that another try does not change; others say nothing about the reference."""


@dataclass(frozen=True)
class Source:
    """Where activations come from: a `layer` of the model of that bundle name with those weights."""

    model: str
    weights_sha256: str
    layer: str


class Ranker(Protocol):
    """Ranks batches of activations by their distance to a reference."""

    async def check(self, reference: str, source: Source, objective: Objective, field: str) -> None:
        """Refuse a reference that does not fit an objective over activations of that source.

        Raises: InvalidArgument naming `field`, ReferenceUnusable, ScorerUnavailable.
        """

    async def rank(
        self, reference: str, source: Source, unit: int | None, batches: Mapping[int, FloatArray]
    ) -> tuple[str, Sequence[pb.RankedResult]]:
        """The version ranked against and the batches, the best first; of activations [S, units] by result index the
        `unit` alone is compared, unless it is None.

        Raises: NotFound for a reference that is gone, ReferenceUnusable, ScorerUnavailable.
        """

    async def close(self) -> None:
        """Release connections."""


def _read_token(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _require_selection(reference: scorer_pb2.Reference, objective: Objective, field: str) -> None:
    """Raises: ReferenceUnusable when the reference selects by another unit, or by the other end of it."""
    kind = reference.selection.WhichOneof("kind")
    if isinstance(objective.target, Direction) or kind not in ("top", "bottom"):
        return
    extreme = reference.selection.top if kind == "top" else reference.selection.bottom
    wanted = "top" if objective.sense is Sense.MAXIMISE else "bottom"
    if (kind, extreme.unit) != (wanted, objective.target):
        raise ReferenceUnusable(
            f"{field}: {reference.name} holds the {kind} of unit {extreme.unit}, the objective is to "
            f"{objective.sense.name.lower()} unit {objective.target}; name a reference of its {wanted}, or one of all "
            "excerpts"
        )


def _compared(rows: FloatArray, unit: int | None) -> FloatArray:
    """What the scorer needs of activations [S, units]."""
    return rows if unit is None else rows[:, unit : unit + 1]


class ScorerRanker:
    """Asks the scorer at `address`, `host:port`."""

    def __init__(
        self,
        address: str,
        *,
        token_file: Path | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Opens no connection yet; in plain text without `tls`.

        Raises: FailedPrecondition, OSError for files that cannot be used.
        """
        self._address = address
        self._token = Watched([token_file], lambda: _read_token(token_file)) if token_file else None
        options = channel_options(SCORER, ("GetReference", "Rank"), MAX_RESPONSE_BYTES)
        self._scorer: Dialled[scorer_pb2_grpc.ScorerServiceAsyncStub] = Dialled(
            address, scorer_pb2_grpc.ScorerServiceStub, options, tls
        )

    async def check(self, reference: str, source: Source, objective: Objective, field: str) -> None:
        """See `Ranker`."""
        name, _, version = reference.partition("/versions/")
        request = scorer_pb2.GetReferenceRequest(name=name)
        with self._failures(InvalidArgument, field), tracing.call(SCORER, "GetReference", {}) as span:
            metadata = (*self._metadata(), *span.headers)
            answer = await self._scorer.stub.GetReference(request, timeout=CHECK_TIMEOUT_S, metadata=metadata)
        found = answer.reference
        versions = [each.name for each in found.versions]
        if not versions or (version and reference not in versions):
            raise InvalidArgument(field, f"is {reference!r}; {name} has {', '.join(versions) or 'no version yet'}")
        theirs = Source(found.model.removeprefix("models/"), found.weights_sha256, found.layer)
        if theirs != source:
            raise ReferenceUnusable(
                f"{field}: {name} is of {theirs.layer} of models/{theirs.model} (weights "
                f"{theirs.weights_sha256[:12]}), the sweep is of {source.layer} of models/{source.model} (weights "
                f"{source.weights_sha256[:12]}); name a reference of the same"
            )
        _require_selection(found, objective, field)

    async def rank(
        self, reference: str, source: Source, unit: int | None, batches: Mapping[int, FloatArray]
    ) -> tuple[str, Sequence[pb.RankedResult]]:
        """See `Ranker`."""
        request = scorer_pb2.RankRequest(
            reference=reference,
            model=f"models/{source.model}",
            weights_sha256=source.weights_sha256,
            layer=source.layer,
            unit=unit,
            batches=[
                # Equal distances keep the order of the results.
                scorer_pb2.Batch(id=f"{index:06d}", activations=tensors.encode(_compared(rows, unit)))
                for index, rows in batches.items()
            ],
        )
        with (
            self._failures(_gone, reference),
            tracing.call(SCORER, "Rank", {"earwitness.batches": len(batches)}) as span,
        ):
            metadata = (*self._metadata(), *span.headers)
            answer = await self._scorer.stub.Rank(request, timeout=RANK_TIMEOUT_S, metadata=metadata)
        ranked = [
            pb.RankedResult(
                result_index=int(each.id),
                rank=each.rank,
                score=each.score,
                probability_best=each.probability_best,
                leaves_range=each.leaves_range,
            )
            for each in answer.batches
        ]
        return answer.version.name, ranked

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self._token is None else (("authorization", f"Bearer {self._token.current()}"),)

    async def close(self) -> None:
        """See `Ranker`."""
        await self._scorer.close()

    @contextmanager
    def _failures(self, missing: Callable[[str, str], EarwitnessError], name: str) -> Iterator[None]:
        """Raises: what `missing` makes of `name` and the scorer's words; ScorerUnavailable, ReferenceUnusable."""
        try:
            yield
        except grpc.aio.AioRpcError as err:
            failure = error_from_rpc(err)
            if failure.code is grpc.StatusCode.NOT_FOUND:
                raise missing(name, failure.message) from err
            too_large = failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and failure.retry_after_s is None
            if failure.code in REFUSALS or too_large:
                raise ReferenceUnusable(f"the scorer at {self._address} refuses: {failure.message}") from err
            through = "" if failure.reason else told(self._address)
            said = f"the scorer at {self._address} gives no answer ({failure.message}); try again{through}"
            raise ScorerUnavailable(said) from err


def _gone(reference: str, said: str) -> NotFound:
    return NotFound("earwitness.scorer.v1.Reference", reference, f"it was there before ({said})")
