"""`earwitness sweep` over open ranges: a study in the output folder, and the sweeps that it asks for."""

import asyncio
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.cli import console
from earwitness.cli.extra import packages_of
from earwitness.cli.sweep_results import print_ranking, progress_words

if TYPE_CHECKING:
    from earwitness.cli.sweep_excerpts import RealAudio
    from earwitness.client import ExplainerClient, ScorerClient, SweepClient, SweepProgress
    from earwitness.client.output import RealExcerpt
    from earwitness.client.tuning import Tuned
    from earwitness.client.tuning_values import TuningPlan

STUDY_FILE = "study.log"
"""Optuna's journal in the output folder; a folder that has it can be gone on with."""


def require_optuna() -> None:
    """Raises: MissingPackage saying which extra brings it."""
    with packages_of("sweep"):
        import optuna  # noqa: F401


@dataclass(frozen=True)
class Tuning:
    """How the ranges are searched, and where the study and its page go."""

    trials: int
    batch_size: int
    out: Path | None
    force: bool
    example_count: int
    real: "RealAudio | None"

    def _file(self) -> Path | None:
        """The study's file in its folder, for a study that is new or goes on; None to keep it in memory.

        Raises: InvalidArgument for a folder that holds something else.
        """
        from earwitness.client.output import check_free

        if self.out is None:
            return None
        file = self.out / STUDY_FILE
        if self.force or not file.exists():
            check_free(self.out, force=self.force, marks=(STUDY_FILE,))
            file.unlink(missing_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        return file

    async def run(
        self,
        explainer: "ExplainerClient",
        sweeps: "SweepClient",
        scorer: "ScorerClient",
        plan: "TuningPlan",
        update: console.Update,
    ) -> "tuple[TuningPlan, Tuned]":
        """Search, and write the folder; the plan with what was found. Raises: as `tune`."""
        from earwitness.client.study import Study
        from earwitness.client.tuning import pinned, tune
        from earwitness.client.tuning_values import check_trials

        check_trials(plan, self.trials)
        plan = await pinned(scorer, plan)
        study = Study(plan, self._file())

        def tell(progress: "SweepProgress", trials: int) -> None:
            share = progress.row_steps_done / max(1, progress.row_step_count)
            words = f"batch after {trials} of {self.trials} trials: {progress_words(progress)}"
            update(trials + share * self.batch_size, self.trials, words)

        try:
            tuned = await tune(
                sweeps, scorer, plan, study, trials=self.trials, batch_size=self.batch_size, on_progress=tell
            )
            if self.out is not None:
                await self._write(explainer, sweeps, scorer, plan, tuned, update)
        except BaseException:
            if self.out is not None and study.trial_count:
                console.say(f"{study.trial_count} trials are kept in {self.out}, and the next try continues with them")
            raise
        return plan, tuned

    async def _write(
        self,
        explainer: "ExplainerClient",
        sweeps: "SweepClient",
        scorer: "ScorerClient",
        plan: "TuningPlan",
        tuned: "Tuned",
        update: console.Update,
    ) -> None:
        from earwitness.client.output import new_directory
        from earwitness.client.output.sweep import write_sweep_files
        from earwitness.client.sweep_archive import ARCHIVE_FILE, write_archive
        from earwitness.client.tuning import report_tuned, save_tuned

        assert self.out is not None
        excerpts: tuple[RealExcerpt, ...] = ()
        if self.real is not None:
            (excerpts,) = await self.real.excerpts(plan.model, [plan.objective.objective], self.example_count, update)
        saved = await save_tuned(explainer, scorer, plan, tuned)
        report = await report_tuned(sweeps, saved, plan, tuned, example_count=self.example_count, excerpts=excerpts)

        def write(out: Path) -> None:
            with new_directory(out, force=True, marks=(STUDY_FILE,)) as folder:
                shutil.copyfile(out / STUDY_FILE, folder / STUDY_FILE)
                write_archive(saved, folder)
                write_sweep_files(report, folder, archive=ARCHIVE_FILE)

        await asyncio.to_thread(write, self.out)


def tuned_document(plan: "TuningPlan", tuned: "Tuned") -> dict[str, Any]:
    """What was found as JSON, the best first."""
    return {
        "plan": asdict(plan),
        "trials": tuned.trial_count,
        "sweeps": list(tuned.sweep_ids),
        "reference_version": tuned.reference_version,
        "row_step_count": tuned.row_step_count,
        "search_duration_s": tuned.search_duration_s,
        "results": [
            {
                "settings": asdict(each.result.settings),
                "sweep": each.sweep_id,
                "index": each.result.index,
                "ranked": each.ranked and asdict(each.ranked),
            }
            for each in tuned.candidates
        ],
    }


def show_tuned(
    plan: "TuningPlan", tuned: "Tuned", out: Path | None, json_output: bool, real: "RealAudio | None"
) -> None:
    """The best settings of all trials, or all of them as JSON."""
    if json_output:
        flaws = [] if real is None else real.flaws.document()
        console.print_json({**tuned_document(plan, tuned), "out": out and out.absolute(), "flaws": flaws})
        return
    ranked = [(each.result, each.ranked) for each in tuned.candidates if each.ranked]
    more = print_ranking(f"{plan.model}: {plan.objective.objective}", ranked)
    if more:
        console.show(f"and {more} more settings, prefixes of the trials' runs among them")
    words = f"{tuned.trial_count} trials in {len(tuned.sweep_ids)} sweeps"
    console.show(f"{words}: {tuned.row_step_count} row-steps in {tuned.search_duration_s:.1f} s")
    if out is not None:
        console.show(f"written to {out}; more --trials continue it")
        console.show_page(out)
