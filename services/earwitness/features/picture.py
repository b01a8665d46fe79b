"""Pictures of spectrograms; matplotlib is loaded when first needed."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from earwitness.features.profile import FeatureProfile

PICTURE_SIZE_IN, PICTURE_DPI = (6.4, 3.6), 100
AXES, BAR = (0.115, 0.135, 0.72, 0.775), (0.855, 0.135, 0.02, 0.775)
"""Left, bottom, width and height in parts of the picture: a layout that is worked out takes as long as the drawing."""
TICKS_HZ = (50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000)
LINEAR_TICKS = 8
"""Most intervals between the ticks of a linear axis."""


def render_picture(profile: "FeatureProfile", spectrogram: NDArray[np.float32], title: str) -> bytes:
    """A PNG of `spectrogram` [bands, frames] over seconds and Hz."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bands, frames = spectrogram.shape
    figure = Figure(figsize=PICTURE_SIZE_IN, dpi=PICTURE_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes(AXES)
    seconds = frames / profile.frames_per_second
    image = axes.imshow(
        spectrogram, origin="lower", aspect="auto", extent=(0, seconds, -0.5, bands - 0.5), interpolation="nearest"
    )
    frequencies = profile.band_frequencies_hz()
    ticks = _ticks_hz(frequencies)
    axes.set_yticks(np.interp(ticks, frequencies, np.arange(bands)), [f"{hz:g}" for hz in ticks])
    axes.set_xlabel("time (s)")
    axes.set_ylabel("frequency (Hz)")
    axes.set_title(title, fontsize="medium", parse_math=False)
    figure.colorbar(image, cax=figure.add_axes(BAR), label=profile.value_label)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _ticks_hz(frequencies: NDArray[np.float64]) -> list[float]:
    """Round numbers about equally far apart on the axis: steps for equally spaced bands, else doublings."""
    candidates: Iterable[float] = TICKS_HZ
    if len(frequencies) > 2 and np.allclose(np.diff(frequencies), frequencies[1] - frequencies[0]):
        from matplotlib.ticker import MaxNLocator

        candidates = MaxNLocator(nbins=LINEAR_TICKS, steps=[1, 2, 5, 10]).tick_values(frequencies[0], frequencies[-1])
    return [float(hz) for hz in candidates if frequencies[0] <= hz <= frequencies[-1]]
