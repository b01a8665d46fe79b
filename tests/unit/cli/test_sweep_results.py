"""How a sweep is told: time left as an estimate deserves, and what an interrupted command says."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from earwitness.cli.sweep_results import folder_names, follow, progress_words
from earwitness.client import Objective, SweepProgress

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def progress(**changes: Any) -> SweepProgress:
    values = {
        "sweep_id": "s1", "model": "tiny", "state": "running", "sequence": 5, "row_steps_done": 10,
        "row_step_count": 100, "results_done": 1, "result_count": 4, "time_left_s": 60.0,
        "row_steps_per_second": 1.5, "waiting_for": "", "cancelling": False, "create_time": NOW, "update_time": NOW,
    }  # fmt: skip
    return SweepProgress(**(values | changes))


def test_progress_in_words() -> None:
    assert progress_words(progress()) == "1 of 4 settings, 2 row-steps/s, about 60 s left"
    assert progress_words(progress(time_left_s=None)) == "1 of 4 settings, 2 row-steps/s"
    assert progress_words(progress(state="queued")) == "waits for the sweeps before it"
    assert progress_words(progress(waiting_for="Triton is away")) == "waits: Triton is away"


def test_folders_stay_where_they_belong_whatever_layers_are_called() -> None:
    def names(*layers: str) -> list[str]:
        return folder_names([Objective(layer, 0) for layer in layers])

    assert names("fc9", "block1.conv-2_a") == ["fc9-0-maximise", "block1.conv-2_a-0-maximise"]
    assert names("../../x", "block1/conv", ".hidden") == [
        "_._.._x-0-maximise", "block1_conv-0-maximise", "_hidden-0-maximise",
    ]  # fmt: skip
    assert names("a/b", "A_b", "c") == ["0-a_b-0-maximise", "1-A_b-0-maximise", "2-c-0-maximise"]


async def test_an_interrupted_command_says_how_to_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    class Client:
        """Watches for ever."""

        async def watch(self, sweep_id: str) -> AsyncIterator[SweepProgress]:
            yield progress()
            await asyncio.Event().wait()

    shown = []
    following = asyncio.create_task(follow(Client(), "s1", lambda *words: shown.append(words)))
    await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert "sweep s1 goes on: `earwitness sweeps watch s1` comes back to it" in capsys.readouterr().err
