"""The scorer, as the explainer asks it over gRPC: what a reference is and keeps, what is near it, how batches rank."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from earwitness import tracing
from earwitness.errors import EarwitnessError, InvalidArgument, NotFound
from earwitness.explainer.errors import ReferenceUnusable, ScorerUnavailable
from earwitness.explainer.objective import activations
from earwitness.explainer.reference import Reference, Source, Version
from earwitness.inference.backend import FloatArray
from earwitness.rpc import tensors
from earwitness.rpc.channel import channel_options
from earwitness.rpc.dialled import ClientTls, Dialled
from earwitness.rpc.errors import error_from_rpc
from earwitness.rpc.files import Watched
from earwitness.rpc.proxies import told
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from earwitness.vocabulary.messages.score import criterion_message, ranked_value
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.reference import KeptLayer
from earwitness.vocabulary.score import Criterion, RankedBatch

CHECK_TIMEOUT_S = 10.0
NEARNESS_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 120.0
RANK_TIMEOUT_S = 600.0
MAX_RESPONSE_BYTES = 16 * 1024 * 1024
REMEMBERED = 256
"""Distributions of objectives over the rows of versions; 40 kB each at most."""
SCORER = pb.DESCRIPTOR.services_by_name["ScorerService"].full_name
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


def _read_token(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


class ScorerClient:
    """Asks the scorer at `address`, `host:port`. Every method raises ScorerUnavailable, and ReferenceUnusable for what
    the scorer refuses."""

    def __init__(self, address: str, *, token_file: Path | None = None, tls: ClientTls | None = None) -> None:
        """Opens no connection yet; in plain text without `tls`.

        Raises: FailedPrecondition, OSError for files that cannot be used.
        """
        self._address = address
        self._token = Watched([token_file], lambda: _read_token(token_file)) if token_file else None
        options = channel_options(SCORER, ("GetReference", "Rank", "MeasureNearness"), MAX_RESPONSE_BYTES)
        self._scorer: Dialled[scorer_pb2_grpc.ScorerServiceAsyncStub] = Dialled(
            address, scorer_pb2_grpc.ScorerServiceStub, options, tls
        )
        self._remembered: OrderedDict[tuple[Version, tuple[tuple[int, float], ...]], FloatArray] = OrderedDict()

    async def find(self, name: str, field: str) -> Reference:
        """The reference of that resource name with the version it names, or its newest.

        Raises: InvalidArgument naming `field` where there is none.
        """
        of, _, numbered = name.partition("/versions/")
        with self._failures(InvalidArgument, field), tracing.call(SCORER, "GetReference", {}) as span:
            answer = await self._scorer.stub.GetReference(
                pb.GetReferenceRequest(name=of), timeout=CHECK_TIMEOUT_S, metadata=self._metadata(span.headers)
            )
        return _reference(answer.reference, name if numbered else "", field)

    async def distribution(self, reference: Reference, objective: Objective) -> FloatArray:
        """The objective's activations among the rows that the reference's version keeps, rising, float32 [rows].

        Raises: NotFound when the reference is gone.
        """
        key = (reference.version, tuple(objective.weights.items()))
        if key not in self._remembered:
            self._remembered[key] = np.sort(await self._read(reference, objective))
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(key)
        return self._remembered[key]

    async def nearness(
        self, reference: Reference, activations: FloatArray, layers: Sequence[str], neighbour_count: int
    ) -> NDArray[np.float64]:
        """How far rows of activations [n, reference.width] are from those of the reference's version, in each of the
        layers [n, layers]; in all that it keeps where there are none.

        Raises: NotFound when the reference is gone.
        """
        request = pb.MeasureNearnessRequest(
            reference=reference.version.name,
            model=f"models/{reference.source.model}",
            weights_sha256=reference.source.weights_sha256,
            layers=layers,
            activations=tensors.encode(activations),
            neighbour_count=neighbour_count,
        )
        about = {"earwitness.rows": len(activations)}
        with self._failures(_gone, reference.version.name), tracing.call(SCORER, "MeasureNearness", about) as span:
            answer = await self._scorer.stub.MeasureNearness(
                request, timeout=NEARNESS_TIMEOUT_S, metadata=self._metadata(span.headers)
            )
        found = tensors.decode(answer.distances, "distances", rank=2)
        if found.shape != (len(activations), len(layers) or len(reference.layers)):
            raise ReferenceUnusable(f"the scorer at {self._address} measured {list(found.shape)} distances; update it")
        return found.astype(np.float64)

    async def rank(
        self,
        reference: str,
        source: Source,
        unit: int | None,
        batches: Mapping[int, FloatArray],
        criterion: Criterion,
    ) -> tuple[str, Sequence[RankedBatch]]:
        """The version ranked against and the batches, the best first; the id of each is its number. Of one `unit`,
        unless it is None, batches may be its column alone [S, 1].

        Raises: NotFound for a reference that is gone.
        """
        request = pb.RankRequest(
            reference=reference,
            model=f"models/{source.model}",
            weights_sha256=source.weights_sha256,
            layer=source.layer,
            unit=unit,
            # Equal distances keep the order of the results.
            batches=[
                pb.Batch(id=f"{number:06d}", activations=tensors.encode(rows)) for number, rows in batches.items()
            ],
            criterion=criterion_message(criterion),
        )
        about = {"earwitness.batches": len(batches)}
        with self._failures(_gone, reference), tracing.call(SCORER, "Rank", about) as span:
            answer = await self._scorer.stub.Rank(
                request, timeout=RANK_TIMEOUT_S, metadata=self._metadata(span.headers)
            )
        return answer.version.name, tuple(map(ranked_value, answer.batches))

    async def close(self) -> None:
        """Release connections."""
        await self._scorer.close()

    async def _read(self, reference: Reference, objective: Objective) -> FloatArray:
        """The objective's activations among the kept rows, which are looked at as they come: a version may hold 320
        MiB of them."""
        request = pb.ReadStatisticsRequest(name=reference.version.name)
        found: list[FloatArray] = []
        header, digest, left = pb.StatisticsHeader(), hashlib.sha256(), b""
        dtype, columns = np.dtype("<f4"), reference.layer_columns
        with self._failures(_gone, reference.version.name), tracing.call(SCORER, "ReadStatistics", {}) as span:
            stream = self._scorer.stub.ReadStatistics(
                request, timeout=READ_TIMEOUT_S, metadata=self._metadata(span.headers)
            )
            async for part in stream:
                if part.HasField("header"):
                    header = part.header
                    dtype = tensors.WIRE_TYPES[header.datatype or "FP32"]
                    continue
                digest.update(part.chunk)
                left += part.chunk
                whole = len(left) // (row_bytes := dtype.itemsize * reference.width)
                rows = np.frombuffer(left[: whole * row_bytes], dtype).reshape(whole, reference.width)
                left = left[whole * row_bytes :]
                found.append(activations(objective, rows[:, columns]))
        if header.form != pb.PARTIAL_FORM_ROWS or left or digest.hexdigest() != header.sha256 or not found:
            raise ReferenceUnusable(
                f"the scorer at {self._address} gives no rows of {reference.version.name}; update it"
            )
        return np.concatenate(found)

    def _metadata(self, headers: tracing.Headers) -> tuple[tuple[str, str], ...]:
        token = () if self._token is None else (("authorization", f"Bearer {self._token.current()}"),)
        return (*token, *headers)

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


def _reference(message: pb.Reference, version: str, field: str) -> Reference:
    """Raises: InvalidArgument naming `field` where it has not that version, or none."""
    versions = {each.name: each for each in message.versions}
    newest = max(versions, key=lambda name: int(name.rpartition("/")[2]), default="")
    chosen = versions.get(version or newest)
    if chosen is None:
        raise InvalidArgument(
            field, f"is {version or message.name!r}; {message.name} has {', '.join(versions) or 'no version yet'}"
        )
    kind = message.selection.WhichOneof("kind") or "all"
    extreme = message.selection.bottom if kind == "bottom" else message.selection.top
    kept = tuple(KeptLayer(each.name, each.unit_count) for each in message.kept_layers)
    return Reference(
        name=message.name,
        source=Source(message.model.removeprefix("models/"), message.weights_sha256, message.layer),
        kind=kind,
        unit=extreme.unit if kind != "all" else 0,
        layers=kept or (KeptLayer(message.layer, message.unit_count),),
        version=Version(chosen.name, chosen.create_time.ToNanoseconds(), chosen.selected_count),
    )
