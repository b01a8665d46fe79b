"""The loop that all training goes through, with a learner whose every step can be told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from earwitness.training.fitting import Learner, Schedule, fit, mean_loss
from earwitness.training.run_folder import Diverged, RunFolder


@dataclass(frozen=True)
class Config:
    seed: int = 0


class Walk(Learner):
    """Adds a random number each update; its memory is the sum."""

    def __init__(self, patience: int | None = None, diverges_at: int | None = None) -> None:
        self.sum = torch.zeros(())
        self.begun = 0
        self.kept: list[int] = []
        self.rounds: list[tuple[int, int]] = []
        self._patience = patience
        self._diverges_at = diverges_at

    def begin(self) -> None:
        self.begun += 1

    def train(self, first: int, last: int) -> dict[str, float]:
        self.rounds.append((first, last))
        for update in range(first, last):
            if update == self._diverges_at:
                raise Diverged(f"update {update + 1}: the loss is nan")
            self.sum = self.sum + torch.randn(())
        return {"sum": self.sum.item()}

    def keep(self, figures: Mapping[str, float], done: int) -> None:
        assert figures == {"sum": self.sum.item()}
        self.kept.append(done)

    def ended(self, done: int) -> bool:
        return self._patience is not None and done >= self._patience

    def state(self) -> dict[str, Any]:
        return {"walk": self.sum}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.sum = state["walk"]


def state_in(folder: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    return state


def run(folder: Path, learner: Walk, schedule: Schedule, stop_after: int | None = None) -> Walk:
    torch.manual_seed(0)  # what a process begins with; a continued run must not depend on it
    fit(RunFolder(folder, Config(), "data"), learner, schedule, stop_after)
    return learner


@pytest.mark.parametrize("schedule", [Schedule("epoch", 5), Schedule("update", 14, 3), Schedule("update", 15, 3)])
def test_a_run_in_parts_equals_one(schedule: Schedule, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", Walk(), schedule)
    first = run(tmp_path / "parts", Walk(), schedule, stop_after=2 * schedule.round_length)
    second = run(tmp_path / "parts", Walk(), schedule)
    assert first.rounds + second.rounds == whole.rounds
    assert first.kept + second.kept == whole.kept
    assert whole.kept[-1] == schedule.total
    assert (first.begun, second.begun) == (1, 0)
    states = [state_in(tmp_path / name) for name in ("whole", "parts")]
    assert states[0]["walk"] == states[1]["walk"] == whole.sum
    assert states[0]["curves"] == states[1]["curves"]
    assert [row[schedule.unit] for row in states[0]["curves"]] == whole.kept
    assert torch.equal(states[0]["random"]["cpu"], states[1]["random"]["cpu"])
    assert run(tmp_path / "whole", Walk(), schedule).rounds == [], "it is over"


def test_only_whole_rounds_are_trained(tmp_path: Path) -> None:
    stopped = run(tmp_path, Walk(), Schedule("update", 10, 4), stop_after=7)
    assert stopped.kept == [4]
    assert state_in(tmp_path)["update"] == 4


def test_a_learner_may_end_before_its_time(tmp_path: Path) -> None:
    assert run(tmp_path, Walk(patience=2), Schedule("epoch", 9)).kept == [1, 2]
    assert run(tmp_path, Walk(patience=2), Schedule("epoch", 9)).kept == []


def test_what_diverges_keeps_the_state_of_the_last_round(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="update 6"):
        run(tmp_path, Walk(diverges_at=5), Schedule("update", 9, 2))
    assert state_in(tmp_path)["update"] == 4
    assert (tmp_path / "curves.csv").read_text().splitlines()[0] == "update,sum"


def test_the_mean_loss_of_a_pass_and_its_progress() -> None:
    batches = [(torch.full((2,), value), torch.zeros(2)) for value in (1.0, 2.0, 6.0)]
    shown: list[tuple[int, int, str]] = []
    loss = mean_loss(
        batches, lambda batch, number: float(batch[0].mean()) + number, 10, 99, lambda *said: shown.append(said)
    )
    assert loss == 14.0
    assert shown == [(11, 99, "loss 11.000"), (12, 99, "loss 12.000"), (13, 99, "loss 14.000")]
