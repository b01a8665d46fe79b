"""Curves of a search as inline SVG: text and axes take the page's colour, so they suit light and dark."""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from html import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from earwitness.client.output.words import number
from earwitness.client.values import Explanation, FloatArray, Trajectory

INK = "#010203"
"""Stands for the page's text colour; replaced by `currentColor` in the SVG."""
MAX_LINES = 32
"""More rows than this are drawn as a median with a band instead of one line each."""
MARGINS = {"left": 0.05, "right": 0.99, "bottom": 0.17, "top": 0.89, "wspace": 0.18}
"""In parts of the picture; a layout that is worked out takes as long as the drawing."""
NARROW_MARGINS = {"left": 0.13, "right": 0.98, "bottom": 0.065, "top": 0.96, "hspace": 0.42}
SHAPES = {"wide": False, "narrow": True}
"""Of the two elements that show a figure, and whether they are narrow."""
CURVES = (
    ("activation", "activations"),
    ("‖z‖", "latent_norms"),
    ("‖gradient‖", "gradient_norms"),
)


def trajectories_svg(
    explanations: Sequence[Explanation], colour: str, name: str = "curves", of_what: str = "the search"
) -> str | None:
    """Activation, ‖z‖ and ‖gradient‖ over the steps, a dot on each row's best iterate; `None` without trajectories.

    `name` is as for `svg_of`; `of_what` stands in the words for those who do not see it.
    """
    rows = [(each.best_step, each.trajectory) for each in explanations if each.trajectory is not None]
    if not rows:
        return None
    first = float(np.median([trajectory.activations[0] for _, trajectory in rows]))
    best = float(np.median([each.activation for each in explanations if each.trajectory is not None]))
    title = f"Activation, norm of the latent and norm of the gradient over the steps of {of_what}"
    details = f"{len(rows)} rows; median activation {number(first)} at the first latents, {number(best)} at the best"

    def draw(narrow: bool) -> Figure:
        figure = Figure(figsize=(4.6, 7.6) if narrow else (11, 2.9))
        figure.subplots_adjust(**(NARROW_MARGINS if narrow else MARGINS))
        panels = figure.subplots(len(CURVES), 1) if narrow else figure.subplots(1, len(CURVES))
        for axes, (curve, field) in zip(panels, CURVES, strict=True):
            _draw(axes, rows, field, colour)
            axes.set_title(curve, color=INK, fontsize=11)
            axes.set_xlabel("step", color=INK, fontsize=9)
        return figure

    return svgs_of(draw, name, title, details)


def drawing() -> AbstractContextManager[None]:
    """Settings of every drawing: text stays text, the same drawing has the same bytes."""
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "earwitness", "font.family": "sans-serif"})


def _draw(axes: Axes, rows: Sequence[tuple[int, Trajectory]], field: str, colour: str) -> None:
    curves: list[FloatArray] = [getattr(trajectory, field) for _, trajectory in rows]
    if len(curves) <= MAX_LINES:
        for curve, (best_step, _) in zip(curves, rows, strict=True):
            axes.plot(curve, color=colour, linewidth=0.9, alpha=0.45)
            at = min(best_step, len(curve) - 1)
            axes.plot(at, curve[at], "o", color=colour, markersize=3)
    table = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in enumerate(curves):
        table[row, : len(curve)] = curve
    low, median, high = np.nanpercentile(table, (5, 50, 95), axis=0)
    if len(curves) > MAX_LINES:
        axes.fill_between(np.arange(len(median)), low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(median, color=colour, linewidth=2.2)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


def svgs_of(draw: Callable[[bool], Figure], name: str, title: str, details: str = "") -> str:
    """A figure of several parts as two elements, of which a page shows one: its parts side by side, and for a narrow
    page (`draw(True)`) one above the other; otherwise as `svg_of`."""
    with drawing():
        wide, narrow = (svg_of(draw(each), f"{name}{shape}", title, details) for shape, each in SHAPES.items())
    return wide.replace("<svg", '<svg class="wide"', 1) + narrow.replace("<svg", '<svg class="narrow"', 1)


def svg_of(figure: Figure, name: str, title: str, details: str = "") -> str:
    """The figure as one `<svg>` element, scaling to its container; `name`, of letters and digits, begins its ids: a
    page may hold several figures. `title` and `details` say what it shows to those who do not see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' (width|height)="[0-9.]+pt"', "", svg, count=2)
    opening, rest = svg.split(">", 1)
    labels = f'role="img" aria-labelledby="{name}-title"' + (f' aria-describedby="{name}-desc"' if details else "")
    words = f'<title id="{name}-title">{escape(title)}</title>'
    words += f'<desc id="{name}-desc">{escape(details)}</desc>' if details else ""
    return f"{opening} {labels}>{words}{rest}"
