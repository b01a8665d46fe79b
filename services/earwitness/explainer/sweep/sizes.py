"""Sweeps in messages that their readers take: what is too large is refused by what fits, or comes in pieces."""

from google.longrunning import operations_pb2

from earwitness.errors import InvalidArgument
from earwitness.explainer.room import RAISE
from earwitness.explainer.sweep import convert
from earwitness.explainer.sweep.record import SweepRecord
from earwitness.explainer.v1 import explainer_pb2 as pb

OPERATION_BYTES = 2**20
"""An operation's sweep that is larger comes without results and rankings, so that every client can read the end."""
RANKED_BYTES = 160
"""A ranked result takes less, its kept rows aside."""
KEPT_BYTES = 3
"""A kept row takes no more."""
READ_AHEAD = 2
"""A view whose stored results are so many times as large as its message may be is not even read."""


def require_view(byte_count: int, limit: int, sweep: pb.Sweep | None, held: int) -> None:
    """Refuse a view of `byte_count` bytes with the rows of `held` results; `sweep` where it is made already.

    Raises: InvalidArgument with the number of results that fit.
    """
    if byte_count <= limit:
        return
    said = f"takes {'about ' if sweep is None else ''}{byte_count} bytes, the response of this call at most {limit}"
    fits = 0
    if held:
        frame = 0 if sweep is None else _without_rows(sweep)
        fits = int(max(0, limit - frame) / max(1, byte_count - frame) * held)
    ask = f"{fits} results at a time fit (result_indices); or " if fits else ""
    raise InvalidArgument("view", f"{said}: {ask}{RAISE}")


def require_rankings(result_count: int, keep_count: int, limit: int) -> None:
    """Refuse to rank what could not be told. Raises: InvalidArgument."""
    if (byte_count := (RANKED_BYTES + KEPT_BYTES * keep_count) * result_count) > limit:
        raise InvalidArgument(
            "max_response_bytes",
            f"the rankings of {result_count} results take up to {byte_count} bytes, the response of this call at most "
            f"{limit}: {RAISE}",
        )


def operation(record: SweepRecord, sweep: pb.Sweep | None) -> operations_pb2.Operation:
    """As `convert.operation`, of a sweep that every client can read."""
    if sweep is not None and sweep.ByteSize() > OPERATION_BYTES:
        sweep.ClearField("results")
        sweep.ClearField("rankings")
    return convert.operation(record, sweep)


def _without_rows(sweep: pb.Sweep) -> int:
    """Bytes of a sweep as it would be with none of its rows."""
    bare = pb.Sweep()
    bare.CopyFrom(sweep)
    for result in bare.results:
        for field in ("activations", "best_steps", "diverged_steps", "seeds", "latents", "layer_activations"):
            result.ClearField(field)
    return int(bare.ByteSize())
