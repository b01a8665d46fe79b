"""Pictures and sound of a spectrogram, made in worker threads; SciPy and matplotlib are loaded when first needed."""

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from earwitness.explainer.plan import Artefact
from earwitness.features import Audio, FeatureProfile, render_audio, render_picture
from earwitness.inference.backend import FloatArray

FIRST_RENDER_S = {Artefact.AUDIO: 2.0, Artefact.PICTURE: 1.0}
"""Expected seconds of one artefact before one was made: mostly the loading of the libraries."""
MEMORY = 0.5
"""Weight of the past in the running mean of rendering times."""
TRUST_S = 10.0
"""An estimate that keeps rendering from being tried halves in so many seconds, or it would never be corrected."""

Result = TypeVar("Result")


class Renderer:
    """Renders in at most `threads` threads at once and knows how long that usually takes."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="render")
        self._seconds = dict(FIRST_RENDER_S)
        self._measured: dict[Artefact, float] = {}
        """When each was made last, the first time, which is mostly loading, aside."""
        self._loaded: set[Artefact] = set()
        self._lock = threading.Lock()
        self._in_hand: Counter[Artefact] = Counter()
        """Those that are made or wait for a thread."""

    async def audio(self, profile: FeatureProfile, spectrogram: FloatArray) -> Audio:
        """The sound of a spectrogram [bands, frames]."""
        return await self._timed(Artefact.AUDIO, lambda: render_audio(profile, spectrogram))

    async def picture(self, profile: FeatureProfile, spectrogram: FloatArray, title: str) -> bytes:
        """A PNG of a spectrogram [bands, frames]."""
        return await self._timed(Artefact.PICTURE, lambda: render_picture(profile, spectrogram, title))

    def expected_s(self, artefacts: frozenset[Artefact], count: int) -> float:
        """Expected seconds to render `artefacts` of `count` spectrograms, going by those before."""
        each_s = sum(self._seconds[artefact] for artefact in artefacts & self._seconds.keys())
        return each_s * -(-count // self.threads)

    def worth_beginning(self, artefact: Artefact, left_s: float) -> bool:
        """Whether one more is likely to be made in `left_s` seconds; the first of all is tried in any time."""
        if artefact not in self._measured and not self._in_hand[artefact]:
            return left_s > 0
        age_s = time.monotonic() - self._measured.get(artefact, time.monotonic())
        turns = 1 + self._in_hand.total() // self.threads
        return left_s > turns * self._seconds[artefact] * math.exp2(-age_s / TRUST_S)

    def loads(self, artefacts: frozenset[Artefact]) -> bool:
        """Whether libraries are loaded now, or will be for these `artefacts`: everything else is slow then."""
        return any(
            artefact not in self._loaded and (artefact in artefacts or self._in_hand[artefact])
            for artefact in self._seconds
        )

    def close(self) -> None:
        """Take no more work; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _timed(self, artefact: Artefact, render: Callable[[], Result]) -> Result:
        def run() -> Result:
            begun = time.monotonic()
            result = render()
            seconds = time.monotonic() - begun
            # Here, so that it is learnt even where nobody waits any more because it takes too long.
            if artefact in self._loaded:
                self._measured[artefact] = time.monotonic()
            else:
                seconds = min(seconds, FIRST_RENDER_S[artefact])
            self._loaded.add(artefact)
            self._seconds[artefact] = MEMORY * self._seconds[artefact] + (1 - MEMORY) * seconds
            return result

        making = self._pool.submit(run)
        with self._lock:
            self._in_hand[artefact] += 1
        making.add_done_callback(partial(self._over, artefact))
        return await asyncio.wrap_future(making)

    def _over(self, artefact: Artefact, made: "Future[Any]") -> None:
        with self._lock:
            self._in_hand[artefact] -= 1
