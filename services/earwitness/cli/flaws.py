"""What is wrong with sound files that a command reads: printed as it is found, and kept for its JSON output."""

from typing import TYPE_CHECKING

from earwitness.cli import console

if TYPE_CHECKING:
    from earwitness.features import Flaw

SAID = 50
"""Flaws that are printed; JSON has all."""


class Flaws:
    """Receives each flaw as it is found, possibly more than once."""

    def __init__(self) -> None:
        self._found: dict[Flaw, None] = {}

    def __call__(self, flaw: "Flaw") -> None:
        if flaw in self._found:
            return
        self._found[flaw] = None
        if len(self._found) <= SAID:
            used = "; what is there is used" if flaw.kind == "cut-off" else ""
            console.say(f"{'left out: ' if flaw.kind == 'left-out' else ''}{flaw}{used}")
        elif len(self._found) == SAID + 1:
            console.say("more like this; --json lists all")

    def document(self) -> list[dict[str, str]]:
        """As JSON."""
        return [{"file": str(each.path), "kind": each.kind, "message": each.message} for each in self._found]
