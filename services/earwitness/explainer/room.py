"""How many bytes an answer may have, and what of its explanations fits.

Latent, spectrogram and activations always come; trajectory, sound and picture as long as there is room for them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from earwitness.errors import InvalidArgument
from earwitness.explainer.plan import Artefact, RowBytes

STOCK_BYTES = 4 * 2**20
"""What a gRPC client accepts in one message by default."""
SUMMARY_BYTES = 1024
"""Kept for a search's summary, in one message with its explanations."""


@dataclass(frozen=True)
class Room:
    """Of each message `fill_bytes` may be filled; a search that might take more than `refuse_bytes` is refused.

    `whole` where all explanations travel in one message, else each has one of its own.
    """

    fill_bytes: int
    refuse_bytes: int
    whole: bool

    @classmethod
    def of(cls, stated: int, most: int, *, whole: bool) -> "Room":
        """What a caller takes who stated `stated` bytes, 0 for nothing, of a server that sends at most `most`.

        Raises: InvalidArgument.
        """
        return cls(response_bytes(stated, most), min(stated, most) if stated else most, whole)

    def require(self, rows: Sequence[RowBytes], wanted: Iterable[Artefact]) -> None:
        """Refuse a search whose answer might not fit, before it begins. Raises: InvalidArgument with what does."""
        for sizes, limit, held in (
            ([row.tensors for row in rows], self.fill_bytes, ()),
            ([row.most for row in rows], self.refuse_bytes, wanted),
        ):
            if self.whole:
                self._require_all(sizes, limit, held)
            elif (largest := max(sizes)) > limit:
                raise InvalidArgument(
                    "max_response_bytes",
                    f"one explanation with {_named(held)} takes up to {largest} bytes, a message of this call at "
                    f"most {limit}; {'ask for fewer artefacts, or ' if held else ''}{RAISE}",
                )

    def _require_all(self, sizes: Sequence[int], limit: int, held: Iterable[Artefact]) -> None:
        totals = list(accumulate(sizes, initial=SUMMARY_BYTES))
        if totals[-1] > limit:
            fitting = sum(total <= limit for total in totals) - 1
            raise InvalidArgument(
                "search.rows",
                f"{len(sizes)} explanations with {_named(held)} take up to {totals[-1]} bytes, the response of this "
                f"call at most {limit}: {max(fitting, 0)} rows fit; use StreamExplain, fewer rows"
                f"{' or artefacts' if held else ''}, or {RAISE}",
            )


RAISE = "raise your channel's receive limit and say so in max_response_bytes (a server sends its own limit at most)"


class Filling:
    """A room while it is filled with the explanations of `rows`, in their order."""

    def __init__(self, room: Room, rows: Sequence[RowBytes]) -> None:
        self._rows = rows
        self._whole = room.whole
        self._fill_bytes = room.fill_bytes
        self._left = room.fill_bytes - SUMMARY_BYTES - sum(row.tensors for row in rows)
        self.rendered_bytes = 0
        """Of sounds and pictures taken in."""
        self.closed: set[Artefact] = set()
        """What did not fit once into a message that all share: its first rows have it, the others do not."""

    def begin(self, index: int) -> None:
        """The row's explanation is next."""
        if not self._whole:
            self._left = self._fill_bytes - self._rows[index].tensors

    def take(self, artefact: Artefact, size: int) -> bool:
        """Whether the next artefact fits, of `size` bytes."""
        if artefact in self.closed or size > self._left:
            if self._whole:
                self.closed.add(artefact)
            return False
        self._left -= size
        if artefact is not Artefact.TRAJECTORY:
            self.rendered_bytes += size
        return True


def response_bytes(stated: int, most: int) -> int:
    """How many bytes one response may have for a caller who stated `stated`, 0 for nothing.

    Raises: InvalidArgument.
    """
    if stated < 0:
        raise InvalidArgument("max_response_bytes", f"is {stated}; must be a number of bytes, or 0 for {STOCK_BYTES}")
    return min(stated or STOCK_BYTES, most)


def _named(artefacts: Iterable[Artefact]) -> str:
    return ", ".join(sorted(artefact.name.lower() for artefact in artefacts)) or "no artefacts"
