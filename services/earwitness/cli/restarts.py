"""How often what ended by itself is started again, and after which pause."""

from dataclasses import dataclass, field

FORGOTTEN_S = 600.0
"""A start longer ago than this says nothing about the next one."""
PAUSE_S = 1.0
"""Before the first new start; twice as long before each further one."""


@dataclass
class Restarts:
    """New starts of each part of a stack: `most` of them within `FORGOTTEN_S` seconds."""

    most: int
    _begun: dict[str, list[float]] = field(default_factory=dict)

    def next(self, name: str, now: float) -> tuple[int, float] | None:
        """The number of the new start of a part that has ended, and the pause before it; None when it had enough.

        `now` is any clock's time in seconds that does not go back.
        """
        recent = [begun for begun in self._begun.get(name, []) if now - begun < FORGOTTEN_S]
        if len(recent) >= self.most:
            return None
        pause_s = PAUSE_S * 2 ** len(recent)
        self._begun[name] = [*recent, now + pause_s]
        return len(recent) + 1, pause_s
