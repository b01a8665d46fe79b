"""Pictures of spectrograms; matplotlib is loaded when first needed.

Most of matplotlib's time for a picture goes to axes, ticks and words that the next one has too. So each thread draws
these once for a kind of picture, and on top of them each spectrogram with its frame, its title and its scale.
"""

import io
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from earwitness.features.waveform import WaveformProfile

if TYPE_CHECKING:
    from earwitness.features.profile import FeatureProfile

PICTURE_SIZE_IN, PICTURE_DPI = (6.4, 3.6), 100
PNG_LEVEL = 4
"""Two thirds of the default's time for 1 % more bytes."""
AXES, BAR = (0.115, 0.135, 0.72, 0.775), (0.855, 0.135, 0.02, 0.775)
"""Left, bottom, width and height in parts of the picture: a layout that is worked out takes as long as the drawing."""
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000)
LINEAR_TICKS = 8
"""Most intervals between the ticks of a linear axis."""


def render_picture(profile: "FeatureProfile", spectrogram: NDArray[np.float32], title: str) -> bytes:
    """A PNG of `spectrogram` [bands, frames] over seconds and Hz; of a waveform [1, samples] its power spectrogram."""
    if isinstance(profile, WaveformProfile):
        profile, spectrogram = profile.pictured(spectrogram)
    bands, frames = spectrogram.shape
    sheet = _last.sheet  # one kind at a time is what a service is asked for
    if sheet is None or (sheet.profile, sheet.shape) != (profile, (bands, frames)):
        sheet = _last.sheet = _Sheet(profile, bands, frames)
    return sheet.png(spectrogram, title)


class _Sheet:
    """A figure of one profile and size whose parts that never change are drawn already."""

    def __init__(self, profile: "FeatureProfile", bands: int, frames: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.profile, self.shape = profile, (bands, frames)
        figure = Figure(figsize=PICTURE_SIZE_IN, dpi=PICTURE_DPI)
        self._canvas = cast(Any, FigureCanvasAgg(figure))
        axes = figure.add_axes(AXES)
        seconds = frames / profile.frames_per_second
        self._image = axes.imshow(
            np.zeros((bands, frames)), origin="lower", aspect="auto", extent=(0, seconds, -0.5, bands - 0.5),
            interpolation="nearest",
        )  # fmt: skip
        frequencies = profile.band_frequencies_hz()
        ticks = _ticks_hz(frequencies)
        axes.set_yticks(np.interp(ticks, frequencies, np.arange(bands)), [f"{hz:g}" for hz in ticks])
        axes.set_xlabel("time (s)")
        axes.set_ylabel("frequency (Hz)")
        self._title = axes.set_title("", fontsize="medium", parse_math=False)
        self._scale = figure.add_axes(BAR)
        figure.colorbar(self._image, cax=self._scale, label=profile.value_label)
        self._over_axes = [self._image, *axes.spines.values(), self._title]
        for each in (*self._over_axes, self._scale):
            each.set_animated(True)
        self._canvas.draw()
        self._drawn = self._canvas.copy_from_bbox(figure.bbox)

    def png(self, spectrogram: NDArray[np.float32], title: str) -> bytes:
        from PIL import Image  # which matplotlib writes PNGs with

        self._image.set_data(spectrogram)
        self._image.autoscale()
        self._title.set_text(title)
        self._canvas.restore_region(self._drawn)
        renderer = self._canvas.get_renderer()
        for each in (*self._over_axes, self._scale):
            each.draw(renderer)
        file = io.BytesIO()
        Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB").save(
            file, format="png", compress_level=PNG_LEVEL
        )
        return file.getvalue()


class _Last(threading.local):
    """What this thread drew last."""

    sheet: _Sheet | None = None


_last = _Last()


def _ticks_hz(frequencies: NDArray[np.float64]) -> list[float]:
    """Round numbers about equally far apart on the axis: steps for equally spaced bands, else doublings."""
    candidates: Iterable[float] = TICKS_HZ
    if len(frequencies) > 2 and np.allclose(np.diff(frequencies), frequencies[1] - frequencies[0]):
        from matplotlib.ticker import MaxNLocator

        candidates = MaxNLocator(nbins=LINEAR_TICKS, steps=[1, 2, 5, 10]).tick_values(frequencies[0], frequencies[-1])
    return [float(hz) for hz in candidates if frequencies[0] <= hz <= frequencies[-1]]
