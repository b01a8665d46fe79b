"""Pictures for the model card."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earwitness.features import FeatureProfile


def beside(
    path: Path,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    profile: FeatureProfile,
    titles: tuple[str, str],
) -> None:
    """Writes a PNG of two square grids of excerpts, `left` and `right` `[N, bands, frames]`, on one colour scale.

    The scale runs from the 2nd to the 99.5th percentile of `right`, the real ones.
    """
    side = int(np.ceil(np.sqrt(max(len(left), len(right)))))
    low, high = np.percentile(right, [2, 99.5])
    seconds = profile.excerpt_shape[1] / profile.frames_per_second
    figure = Figure(figsize=(4.2 * side, 1.7 * side), layout="constrained")
    FigureCanvasAgg(figure)
    halves = figure.subfigures(1, 2, wspace=0.04, squeeze=False)[0]
    for half, excerpts, title in zip(halves, (left, right), titles, strict=True):
        half.suptitle(title)
        axes = half.subplots(side, side, sharex=True, sharey=True).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, excerpt in zip(axes, excerpts, strict=False):
            axis.imshow(
                excerpt, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="nearest",
                extent=(0.0, seconds, 0, len(excerpt)),
            )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
