"""DET plots: misses over false alarms on normal-deviate axes, where Gaussian scores give straight lines."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtri

from earwitness.detection.eer import RankedTrials, equal_error_rate
from earwitness.files import whole_file

TICKS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
HIGHEST = 0.6
"""The axes end here, unless a system's EER is higher."""


def det_curve(
    scores: NDArray[np.float64], genuine: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the ROC's steps: Pfa and Pmiss, both `[K]`, from accepting all to rejecting all.

    Source: A. Martin et al., The DET curve in assessment of detection task performance (1997).

    Raises: as `equal_error_rate`.
    """
    misses, false_alarms = (each[0] for each in RankedTrials.of(scores, genuine).errors())
    across, up = np.diff(false_alarms) != 0, np.diff(misses) != 0
    # A threshold in the middle of a straight stretch, level or upright, adds nothing to the line.
    straight = (across[1:] & across[:-1] & ~up[1:] & ~up[:-1]) | (up[1:] & up[:-1] & ~across[1:] & ~across[:-1])
    corner = np.concatenate([[True], ~straight, [True]])
    return false_alarms[corner] / false_alarms[0], misses[corner] / misses[-1]


class Curve(NamedTuple):
    """Scores of some trials, and which are genuine, both `[n]`."""

    scores: NDArray[np.float64]
    genuine: NDArray[np.bool_]


def draw_det(path: Path, curves: Mapping[str, Curve]) -> None:
    """Writes a PNG with one curve for each name of `curves`, and both its equal error rates on the diagonal.

    Raises: as `equal_error_rate`; OSError when the file cannot be written.
    """
    figure = det_figure(curves)
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def det_figure(curves: Mapping[str, Curve]) -> Figure:
    """What `draw_det` writes: for each name its line, its mark on the convex hull and that at the nearest threshold.

    Raises: as `equal_error_rate`.
    """
    figure = Figure(figsize=(6.4, 6.4 + 0.4 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    eers = {name: equal_error_rate(*curve) for name, curve in curves.items()}
    lines = {name: det_curve(*curve) for name, curve in curves.items()}
    # A rate of 0 lies at infinity: it is drawn where half a trial would be.
    floor = 0.5 / max(max(eer.genuine, eer.spoof) for eer in eers.values())
    high = max(HIGHEST, *(min(1 - floor, 1.1 * eer.nearest_threshold) for eer in eers.values()))
    low = 0.8 * max(floor, min(_lowest_seen(*line, high) for line in lines.values()))
    for name, eer in eers.items():
        false_alarms, misses = (ndtri(np.clip(each, floor, 1 - floor)) for each in lines[name])
        label = f"{name}: eer_convex_hull {eer.convex_hull:.2%}, eer_nearest_threshold {eer.nearest_threshold:.2%}"
        (line,) = axes.plot(false_alarms, misses, linewidth=1.2, label=label)
        for rate, marker, fill in ((eer.convex_hull, "o", "full"), (eer.nearest_threshold, "s", "none")):
            place = ndtri(np.clip(rate, floor, 1 - floor))
            axes.plot(place, place, marker, color=line.get_color(), fillstyle=fill, markersize=7, zorder=3)
    _frame(axes, low, high)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", fontsize=8, frameon=False)
    return figure


def _lowest_seen(false_alarms: NDArray[np.float64], misses: NDArray[np.float64], high: float) -> float:
    """The smallest rate of a curve as long as the other one is below `high`."""
    return float(min(false_alarms[misses <= high].min(), misses[false_alarms <= high].min()))


def _frame(axes: Axes, low: float, high: float) -> None:
    """Axes in per cent, the diagonal, what the marks mean."""
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ends = ndtri([low, high])
    names = [f"{100 * tick:g}" for tick in ticks]
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xticks(ndtri(ticks), names)
    axes.set_yticks(ndtri(ticks), names)
    axes.plot(ends, ends, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlabel("false alarms: spoofs accepted, %")
    axes.set_ylabel("misses: genuine rejected, %")
    axes.set_title("● EER on the convex hull   □ at the nearest threshold", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
