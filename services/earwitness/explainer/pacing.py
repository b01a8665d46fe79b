"""How a call with a deadline spends its time: on the search, the last passes, rendering, and handing over.

What follows the search is expected to take what it took lately, so that a busy machine is allowed for.
"""

from earwitness.explainer.search import Budget
from earwitness.rpc.context import RETURN_MARGIN_S

USABLE = 0.95
"""This part of a caller's time: a machine that is busy takes the rest unseen, the more the longer."""
MAX_RESERVED = 0.5
"""At most this part of the time is kept for what follows, and of the rest for rendering: an estimate may be far off."""
FIRST_ROW_S = 0.002
"""Expected seconds to hand one explanation over before one was."""
SLOWEST_ROW_S = 0.05
"""A caller that reads slower than this makes nobody else's search shorter."""
BYTE_S = 3e-8
"""Seconds to encode, copy and send one byte: a few times what that takes on a machine with nothing else to do."""
STALLS_S, STALLS_SHARE = 0.4, 0.25
"""While a library is loaded, every other thread stands still now and then: seconds, and part of the time left."""
MARGIN = 2.0
"""So many times what rows took on the average: a mean is exceeded every other time."""
MEMORY = 0.98
"""Weight of the past in the running mean of rows."""
MEAN_FADES = 0.999
"""How much of the highest such mean is still expected of the row after: a machine is busy by fits and starts."""
LATE_S, LATEST_S, LATE_FADES = 0.05, 0.25, 0.98
"""What rendering is expected to go on beyond its time, at least and at most, and how much of more than the least is
still expected after the next row: what is allowed for may never be seen again, so it has to be forgotten."""
FADES = 0.7
"""How much of the slowest passes is still expected of the next ones."""


class Pacing:
    """Learns what follows a search."""

    def __init__(self) -> None:
        self._row_s = {True: FIRST_ROW_S, False: FIRST_ROW_S}
        """By whether all rows travel in one message: then sending them is no part of it."""
        self._expected_row_s = dict(self._row_s)
        self._late_s = LATE_S
        self._passes_s: dict[tuple[str, int], float] = {}
        """By the model and the order of magnitude of the rows."""

    def handing_over_s(self, left_s: float, rows: int, byte_count: int, *, whole: bool, loading: bool) -> float:
        """Seconds to keep, of `left_s`, for encoding and sending so many explanations and for the answer's way back;
        `loading` while libraries are loaded beside it."""
        stalls_s = max(STALLS_S, STALLS_SHARE * left_s) if loading else 0.0
        return RETURN_MARGIN_S + stalls_s + MARGIN * self._expected_row_s[whole] * rows + BYTE_S * byte_count

    def stopping_s(self) -> float:
        """Seconds to keep, beside these, where anything is rendered: when its time is over it holds the call up, and
        again on the way that follows."""
        return MARGIN * self._late_s

    def stopped(self, late_s: float) -> None:
        """A rendering whose time was over was given up so much later."""
        self._late_s = max(self._late_s, min(late_s, LATEST_S))

    def handed_over(self, seconds: float, *, whole: bool) -> None:
        """One explanation took so long."""
        self._late_s = max(LATE_S, LATE_FADES * self._late_s)
        self._row_s[whole] = MEMORY * self._row_s[whole] + (1 - MEMORY) * min(seconds, SLOWEST_ROW_S)
        self._expected_row_s[whole] = max(self._row_s[whole], MEAN_FADES * self._expected_row_s[whole])

    def passed(self, model: str, rows: int, seconds: float) -> None:
        """The passes through generator and classifier took so long."""
        key = model, rows.bit_length()
        self._passes_s[key] = max(seconds, FADES * self._passes_s.get(key, 0.0) + (1 - FADES) * seconds)

    def search_budgets(
        self,
        end_s: float,
        model: str,
        rows: int,
        byte_count: int,
        rendering_s: float,
        *,
        whole: bool,
        loading: bool,
        searched: int = 0,
    ) -> tuple[Budget, Budget]:
        """The search's share of the time until `end_s`, and what its first step may take: without one, nothing that
        time is kept for comes about. Of the rows that were `searched`, by default all, `rows` are handed over."""
        left_s = Budget(end_s).left_s()
        if left_s is None:
            return Budget(), Budget()
        passes_s = self._passes_s.get((model, (searched or rows).bit_length()), 0.0)
        handing_over_s = self.handing_over_s(left_s, rows, byte_count, whole=whole, loading=loading)
        after_s = min(handing_over_s + passes_s, MAX_RESERVED * left_s)
        if rendering_s:
            rendering_s += self.stopping_s()
        rendering_s = min(rendering_s, MAX_RESERVED * (left_s - after_s))
        return Budget(end_s - after_s - rendering_s), Budget(end_s - RETURN_MARGIN_S)
