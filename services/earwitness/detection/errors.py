"""What can be wrong with score files and keys, told all at once."""

from collections.abc import Iterable, Sequence

from earwitness.errors import EarwitnessError

LISTED = 20
"""So many names of a kind are told, the others counted."""


class BrokenScores(EarwitnessError):
    """Scores and keys that cannot be used; `problems` holds a line for each kind of finding."""

    code = "INVALID_ARGUMENT"
    reason = "BROKEN_SCORES"

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def listed(names: Iterable[str]) -> str:
    """The first LISTED names, and how many more there are."""
    told = list(names)
    more = len(told) - LISTED
    return ", ".join(told[:LISTED]) + (f" and {more} more" if more > 0 else "")
