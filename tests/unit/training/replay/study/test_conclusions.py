"""The sentences of a study whose figures are made by hand."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from earwitness.training.replay.rates import Estimate
from earwitness.training.replay.study.conclusions import conclusions
from earwitness.training.replay.study.config import Cell
from earwitness.training.replay.study.results import Row, Run, Study
from earwitness.training.replay.study.writing import document, kinds_table, main_table, markdown

SPREAD = np.linspace(-0.01, 0.01, 1001)
"""Of the resamples of every rate; those of eval run the other way, as of trials of other speakers."""


def estimate(value: float, width: float = 1.0) -> Estimate:
    return Estimate(value, value + width * SPREAD)


def row(cell: Cell, dev: float, evaluation: float, seeds: int = 1) -> Row:
    """Rates ± 1 point, so that gaps are ± 2; further seeds have a point more on eval."""
    runs = [
        Run(
            seed,
            epochs=10 + seed,
            best_epoch=5,
            seconds=90.0,
            eers={"dev": estimate(dev), "eval": estimate(evaluation + 0.01 * seed, -1.0)},
            kinds={"phone": estimate(0.05), "hifi": estimate(0.25)},
        )
        for seed in range(seeds)
    ]
    return Row(cell, 500_242, runs)


def study(*rows: Row, pending: Mapping[str, str] | None = None) -> Study:
    return Study(
        corpus=Path("corpus"),
        other=None,
        rows=rows,
        trials={"train": (3, 3), "dev": (2, 2), "eval": (2, 4)},
        pending=pending or {},
        undefined={"train": "all 3 trials are genuine; an equal error rate needs genuine trials and spoofs"},
        warnings=(),
        settings={"epochs": 10},
        resamples=1001,
        seed=0,
    )


def test_what_the_gap_does_and_what_more_data_does_to_it() -> None:
    found = study(
        row(Cell("compact", False), 0.10, 0.20),
        row(Cell("bulbul", False), 0.10, 0.11),
        row(Cell("compact", True), 0.08, 0.12),
        row(Cell("bulbul", True), 0.10, 0.11),
    )
    less, more, gap, evaluation = conclusions(found)
    assert less == (
        "With one window the EER changes from dev to eval by +10.0 points [+8.1, +11.9] (compact), +1.0 points "
        "[-0.9, +2.9] (bulbul), to 1.48 times as much on (geometric) average: it rises for compact (1 of 2); no change "
        "can be told from chance for bulbul (1 of 2)."
    )
    assert more.startswith("With more data the EER changes from dev to eval by +4.0 points [+2.1, +5.9] (compact)")
    assert gap == (
        "More data changes that gap by -6.0 points [-6.0, -6.0] (compact), +0.0 points [+0.0, +0.0] (bulbul): it "
        "narrows for compact (1 of 2); no change can be told from chance for bulbul (1 of 2)."
    )
    assert evaluation.startswith("More data changes the EER on eval by -8.0 points [-8.0, -8.0] (compact)")


def test_rows_are_means_over_seeds_and_empty_ones_say_so() -> None:
    found = study(row(Cell("compact", True), 0.1, 0.2, seeds=3), pending={"bulbul-more-s0": "is still to come"})
    columns, (cells,) = main_table(found)
    shown = dict(zip(columns, cells, strict=True))
    assert shown == {
        "network": "compact",
        "parameters#": "500,242",
        "data": "more data",
        "seeds#": "3",
        "epochs#": "10–12",
        "minutes#": "2",
        "train#": "undefined",
        "dev#": "10.0 % [9.1, 10.9]",
        "eval#": "21.0 % [20.1, 22.0]",
        "eval − dev#": "+11.0 points [+9.1, +12.9]",
        "eval, seeds#": "20.0 to 22.0 %",
    }
    columns, (cells,) = kinds_table(found)
    assert columns == ["network", "data", "hifi#", "phone#"]
    assert [cell[:6] for cell in cells[2:]] == ["25.0 %", "5.0 % "]
    text = markdown(found)
    assert "- bulbul-more-s0 is still to come" in text
    assert "- train: the EER is undefined: all 3 trials are genuine" in text
    assert "## EER on altered eval" not in text
    assert document(found)["rows"][0]["eer"]["train"] is None
    assert "No run is finished yet." in markdown(study())
    assert conclusions(study()) == []
