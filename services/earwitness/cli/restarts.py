"""How often a process that ended by itself is restarted, and after what delay."""

from dataclasses import dataclass, field

FORGOTTEN_S = 600.0
"""Restarts longer ago than this no longer count."""
PAUSE_S = 1.0
"""Delay before the first restart; it doubles with each further one."""


@dataclass
class Restarts:
    """Restarts of each part of a stack: at most `most` within `FORGOTTEN_S` seconds."""

    most: int
    _begun: dict[str, list[float]] = field(default_factory=dict)

    def next(self, name: str, now: float) -> tuple[int, float] | None:
        """The number of the restart of a part that has ended, and the delay before it; None if there were too many.

        `now` is any clock's time in seconds that does not go back.
        """
        recent = [begun for begun in self._begun.get(name, []) if now - begun < FORGOTTEN_S]
        if len(recent) >= self.most:
            return None
        pause_s = PAUSE_S * 2 ** len(recent)
        self._begun[name] = [*recent, now + pause_s]
        return len(recent) + 1, pause_s
