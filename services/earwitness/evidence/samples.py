"""A picture of a generator's samples beside real excerpts."""

from pathlib import Path

import numpy as np

from earwitness.evidence.generator import GeneratorReport

SIDE = 4
"""Rows and columns of each half."""


def draw_samples(path: Path, report: GeneratorReport) -> None:
    """Writes a PNG of both on one colour scale, from the 2nd to the 99.5th percentile of the real ones."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    low, high = np.percentile(report.real_pictured, [2, 99.5])
    figure = Figure(figsize=(2 * 3.2 * SIDE, 1.6 * SIDE), layout="constrained")
    FigureCanvasAgg(figure)
    halves = figure.subfigures(1, 2, wspace=0.04, squeeze=False)[0]
    titles = {"samples": report.sample_pictured, "real excerpts": report.real_pictured}
    for half, (title, excerpts) in zip(halves, titles.items(), strict=True):
        half.suptitle(title)
        axes = half.subplots(SIDE, SIDE).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, excerpt in zip(axes, excerpts, strict=False):
            axis.imshow(excerpt, origin="lower", aspect="auto", vmin=low, vmax=high, interpolation="nearest")
    figure.savefig(path, dpi=80)
