"""Pictures and sound of a spectrogram, made in worker threads; librosa and matplotlib are loaded when first needed."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from earwitness.explainer.plan import Artefact
from earwitness.features import Audio, FeatureProfile, render_audio, render_picture
from earwitness.inference.backend import FloatArray

FIRST_RENDER_S = {Artefact.AUDIO: 2.0, Artefact.PICTURE: 1.0}
"""Expected seconds of one artefact before one was made: mostly the loading of the libraries."""
MEMORY = 0.5
"""Weight of the past in the running mean of rendering times."""

Result = TypeVar("Result")


class Renderer:
    """Renders in at most `threads` threads at once and knows how long that usually takes."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="render")
        self._seconds = dict(FIRST_RENDER_S)

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

    def close(self) -> None:
        """Take no more work; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _timed(self, artefact: Artefact, render: Callable[[], Result]) -> Result:
        def run() -> Result:
            begun = time.monotonic()
            result = render()
            seconds = time.monotonic() - begun
            # Here, so that it is learnt even where nobody waits any more because it takes too long.
            self._seconds[artefact] = MEMORY * self._seconds[artefact] + (1 - MEMORY) * seconds
            return result

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)
