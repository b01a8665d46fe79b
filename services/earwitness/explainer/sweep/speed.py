"""How fast a sweep goes, measured over the last minute."""

import time
from collections import deque

WINDOW_S = 60.0


class Speed:
    """Told how much is done, again and again; the estimate follows a machine that gets busy, or a batch that thins."""

    def __init__(self, done: int) -> None:
        self._samples = deque([(time.monotonic(), done)])

    def tell(self, done: int) -> float:
        """So much is done now; how much a second was lately, 0 before there is a measure."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()
        begun, before = self._samples[0]
        return (done - before) / (now - begun) if now > begun else 0.0
