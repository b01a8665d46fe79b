"""A sweep as a picture: what each setting scored, over learning rate, prior weight and steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from earwitness.client.output.plots import INK, drawing, svgs_of
from earwitness.client.output.report import Outcome
from earwitness.client.output.words import number, prior_words, settings_line
from earwitness.client.values import Settings

PANELS_PER_ROW = 3
MIN_FILLED = 0.5
"""Settings that fill less of the product of their values are no grid; they are drawn as points."""
MAX_NUMBERED_COLUMNS = 8
MAX_LINES = 30
LINE_IN = 0.42
"""Height of a setting's line, its words above its dot."""
CELL = 0.96
"""Size of a cell; the distance to its neighbours is 1."""
PANEL_SIZE_IN = (3.5, 2.7)
PNG_DPI = 160
PNG_INK, PNG_GROUND = "#1d1f24", "#ffffff"


@dataclass(frozen=True)
class Grid:
    """Outcomes to be drawn, and what is drawn of each: `values`, finite; lower is better where they are distances."""

    outcomes: Sequence[Outcome]
    values: Sequence[float]
    label: str
    logarithmic: bool

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Grid":
        """The distances of ranked outcomes, the median activations of others."""
        distances = [each.ranked.score.distance for each in outcomes if each.ranked]
        if len(distances) == len(outcomes):
            return cls(outcomes, distances, "Fréchet distance (FID), logarithmic", logarithmic=True)
        return cls(outcomes, [each.median for each in outcomes], "median activation", logarithmic=False)

    @property
    def panels(self) -> dict[str, list[int]]:
        """Indices of the outcomes of each panel, by its title: one for each number of steps and optimiser."""
        several = len({each.settings.optimiser for each in self.outcomes}) > 1
        order = sorted(
            range(len(self.outcomes)),
            key=lambda index: (str(self.outcomes[index].settings.optimiser), self.outcomes[index].settings.steps or 0),
        )
        panels: dict[str, list[int]] = {}
        for index in order:
            settings = self.outcomes[index].settings
            title = f"{settings.steps} steps" if settings.steps is not None else f"{settings.draws} draws"
            title += f", {settings.optimiser}" if several else ""
            panels.setdefault(title, []).append(index)
        return panels

    @property
    def listed(self) -> bool:
        """True where settings differ in more than a picture over rates and priors could show."""
        every = [each.settings for each in self.outcomes]
        return any(each.optimiser == "draws" or each.target or (each.start_draws or 1) > 1 for each in every)

    @property
    def filled(self) -> bool:
        """True when the settings are (nearly) every combination of a few values."""
        if self.listed:
            return False
        rates = {each.settings.learning_rate for each in self.outcomes}
        priors = {prior_key(each.settings) for each in self.outcomes}
        return len(self.outcomes) >= MIN_FILLED * len(rates) * len(priors) * len(self.panels)


def grid_svg(grid: Grid, name: str = "grid", of_what: str = "") -> str:
    """The picture in the colours of its page, as `svgs_of` makes it; `of_what` is the objective, where a page has
    several."""
    what = "Fréchet distance" if grid.logarithmic else "Median activation"
    title = f"{what} of {len(grid.outcomes)} settings over learning rate, prior weight and steps"
    title += f": {of_what}" if of_what else ""
    details = f"{number(min(grid.values))} to {number(max(grid.values))}"
    best = next((each for each in grid.outcomes if _marks(each)[0]), None)
    if best is not None:
        details += f", lowest at {settings_line(best.settings)}"
    return svgs_of(lambda narrow: _figure(grid, INK, 1 if narrow else PANELS_PER_ROW), name, title, details)


def write_grid_png(grid: Grid, title: str, path: Path) -> None:
    """The picture as a file."""
    with drawing():
        figure = _figure(grid, PNG_INK)
        figure.suptitle(title, color=PNG_INK, fontsize=11, parse_math=False)
        figure.savefig(path, dpi=PNG_DPI, facecolor=PNG_GROUND, metadata={"Software": None})


def prior_key(settings: Settings) -> tuple[bool, float]:
    """Sorts by prior weight; weight decays, where they are used instead, come after."""
    return bool(settings.weight_decay), settings.weight_decay or settings.prior_weight or 0.0


def _figure(grid: Grid, ink: str, most_columns: int = PANELS_PER_ROW) -> Figure:
    panels = grid.panels if grid.filled else {"": list(range(len(grid.outcomes)))}
    columns = min(most_columns, len(panels) if grid.filled else 2)
    rows = math.ceil(len(panels) / columns) if grid.filled else 1
    height = PANEL_SIZE_IN[1] * rows * (1 if grid.filled else 1.4)
    if grid.listed:
        height = LINE_IN * min(len(grid.outcomes), MAX_LINES) + 1
    figure = Figure(figsize=(PANEL_SIZE_IN[0] * columns + 1.2, height), layout="constrained")
    colours, norm = colormaps["viridis_r" if grid.logarithmic else "viridis"], _norm(grid)
    axes = figure.subplots(rows, columns if grid.filled else 1, squeeze=False).ravel()
    draw = _cells if grid.filled else _lines if grid.listed else _points
    for each, (title, members) in zip(axes, panels.items(), strict=False):
        _frame(each, title, ink)
        draw(each, grid, members, colours, norm, ink)
    for unused in axes[len(panels) :]:
        unused.set_visible(False)
    bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes.tolist(), pad=0.015, fraction=0.06)
    bar.set_label(grid.label, color=ink, fontsize=9)
    bar.ax.tick_params(which="both", colors=ink, labelsize=8)
    bar.outline.set_visible(False)
    return figure


def _frame(axes: Axes, title: str, ink: str) -> None:
    axes.set_title(title, color=ink, fontsize=10)
    axes.set_xlabel("learning rate", color=ink, fontsize=9)
    axes.tick_params(which="both", colors=ink, labelsize=8)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _norm(grid: Grid) -> Normalize:
    if not grid.logarithmic:
        low, high = min(grid.values), max(grid.values)
        return Normalize(low, high if high > low else low + 1)
    positive = [value for value in grid.values if value > 0] or [1.0]
    low, high = min(positive), max(positive)
    return LogNorm(low, high if high > low else low * 10, clip=True)


def _cells(axes: Axes, grid: Grid, members: list[int], colours: Colormap, norm: Normalize, ink: str) -> None:
    """A cell for each combination of rate and prior, with its number; the best framed, those out of range hatched."""
    every = [each.settings for each in grid.outcomes]
    rates = sorted({each.learning_rate or 0.0 for each in every})
    priors = {prior_key(each): prior_words(each) for each in sorted(every, key=prior_key)}
    rows = list(priors)
    for index in members:
        outcome, colour = grid.outcomes[index], colours(norm(grid.values[index]))
        x, y = rates.index(outcome.settings.learning_rate or 0.0), rows.index(prior_key(outcome.settings))
        text = _contrasting(colour)
        best, flagged = _marks(outcome)
        corner = (x - CELL / 2, y - CELL / 2)
        hatch: dict[str, Any] = {"hatch": "///", "hatch_linewidth": 0.6} if flagged else {}
        axes.add_patch(Rectangle(corner, CELL, CELL, facecolor=colour, edgecolor=text, linewidth=0, **hatch))
        if best:
            axes.add_patch(Rectangle(corner, CELL, CELL, fill=False, edgecolor=ink, linewidth=2.6))
        if len(rates) <= MAX_NUMBERED_COLUMNS:
            weight = "bold" if best else "normal"
            clear = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
            words = number(grid.values[index])
            axes.text(x, y, words, ha="center", va="center", color=text, fontsize=8.5, weight=weight, bbox=clear)
            if best:
                axes.plot(x, y + 0.3, marker="*", color=text, markersize=8)
    axes.set_xlim(-0.55, len(rates) - 0.45)
    axes.set_ylim(-0.55, len(rows) - 0.45)
    axes.set_xticks(range(len(rates)), [f"{rate:.3g}" for rate in rates])
    axes.set_yticks(range(len(rows)), list(priors.values()))
    axes.tick_params(length=0)


def _points(axes: Axes, grid: Grid, members: list[int], colours: Colormap, norm: Normalize, ink: str) -> None:
    """A point for each setting, larger for more steps; the best ringed, those out of range crossed."""
    most = max(each.settings.steps or 1 for each in grid.outcomes)
    for index in members:
        outcome = grid.outcomes[index]
        settings = outcome.settings
        x, y = settings.learning_rate or 0.0, settings.weight_decay or settings.prior_weight or 0.0
        size = 4 + 12 * math.sqrt((settings.steps or 1) / most)
        best, flagged = _marks(outcome)
        colour = colours(norm(grid.values[index]))
        axes.plot(x, y, "s" if settings.weight_decay else "o", color=colour, markersize=size)
        if flagged:
            axes.plot(x, y, "x", color=_contrasting(colour), markersize=size / 2, markeredgewidth=0.8)
        if best:
            axes.plot(x, y, "o", color=ink, fillstyle="none", markersize=size + 5, markeredgewidth=2)
    axes.set_xscale("log")
    if all(prior_key(each.settings)[1] > 0 for each in grid.outcomes):
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=1e-4)
        axes.set_ylim(bottom=-2e-5)
    axes.margins(0.06, 0.12)
    axes.set_ylabel("prior weight λ", color=ink, fontsize=9)
    axes.grid(color=ink, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)


def _lines(axes: Axes, grid: Grid, members: list[int], colours: Colormap, norm: Normalize, ink: str) -> None:
    """A line for each setting, the best on top and ringed, those out of range crossed; of many the best alone."""
    shown = members[:MAX_LINES]
    for place, index in enumerate(shown):
        outcome, value = grid.outcomes[index], grid.values[index]
        best, flagged = _marks(outcome)
        colour = colours(norm(value))
        axes.plot(value, place, "o", color=colour, markersize=9)
        if flagged:
            axes.plot(value, place, "x", color=_contrasting(colour), markersize=5, markeredgewidth=0.8)
        if best:
            axes.plot(value, place, "o", color=ink, fillstyle="none", markersize=14, markeredgewidth=2)
        axes.text(
            0.01, place - 0.3, settings_line(outcome.settings), transform=axes.get_yaxis_transform(), color=ink,
            fontsize=8, va="center",
        )  # fmt: skip
    if grid.logarithmic and all(grid.values[index] > 0 for index in shown):
        axes.set_xscale("log")
    axes.set_yticks([])
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.margins(x=0.08)
    axes.set_xlabel(grid.label, color=ink, fontsize=9)
    axes.grid(axis="x", color=ink, alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)


def _contrasting(colour: tuple[float, ...]) -> str:
    """What can be read on a colour."""
    luminance = float(np.dot(colour[:3], (0.299, 0.587, 0.114)))
    return "#ffffff" if luminance < 0.55 else "#101010"


def _marks(outcome: Outcome) -> tuple[bool, bool]:
    """Whether it is the best, and whether it leaves the range."""
    ranked = outcome.ranked
    return (ranked.rank == 1, ranked.leaves_range) if ranked else (False, False)
