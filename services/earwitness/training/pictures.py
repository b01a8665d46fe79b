"""Pictures of training: excerpts for the model card, and a run's curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earwitness.features import FeatureProfile
from earwitness.files import whole_file

MARKED_POINTS = 40
"""A curve of fewer points shows each."""


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


def draw_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes a PNG with one panel for each column of `rows` over the first one; nothing where there is no such row."""
    first, *others = dict.fromkeys(key for row in rows for key in row) or [""]
    if not others:
        return
    columns = min(3, len(others))
    figure = Figure(figsize=(4.0 * columns, 2.6 * -(-len(others) // columns)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(-(-len(others) // columns), columns, squeeze=False).ravel()
    for axis in axes[len(others) :]:
        axis.set_axis_off()
    for axis, name in zip(axes, others, strict=False):
        points = np.array([(row[first], row[name]) for row in rows if name in row], np.float64)
        axis.plot(points[:, 0], points[:, 1], marker="." if len(points) < MARKED_POINTS else "", linewidth=1.0)
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.set_xlabel(first, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100, format="png")
