"""The Optuna study of a search over ranges: what to try next, what came of it, kept in a file so that it can go on.

A trial is a setting that was asked for. Shorter prefixes of its run are trials too, which cost nothing: they are told
without having been asked. A batch of trials is one sweep; its request id is written before it is sent, so that a study
that was interrupted finds the sweep it started.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from earwitness.client.tuning_values import TuningPlan
from earwitness.client.values import Settings
from earwitness.errors import InvalidArgument

NAME = "earwitness"
PLAN, BATCHES, PREFIX_OF = "plan", "batches", "prefix_of"


@dataclass(frozen=True)
class Batch:
    """Trials that are one sweep: `settings` of the sweep, those of each trial by its number, all among them."""

    request_id: str
    trials: Mapping[int, Settings]
    settings: tuple[Settings, ...]


class Study:
    """Proposes settings, and takes their distances; kept in the file `path`, or in memory."""

    def __init__(self, plan: TuningPlan, path: Path | None = None) -> None:
        """Opens the study that the file holds, or a new one.

        Raises: InvalidArgument when the file holds a study of something else.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._plan = plan
        storage = None if path is None else JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(storage=storage, study_name=NAME, direction="minimize", load_if_exists=True)
        asked = json.loads(json.dumps(asdict(plan)))
        held = self._study.user_attrs.get(PLAN, asked)
        if held != asked:
            differing = [name for name in asked if held.get(name) != asked[name]]
            raise InvalidArgument(
                "out",
                f"{path} is a study with another {', '.join(differing)}; give the same again to go on with it, choose "
                "another folder, or start again with --force",
            )
        self._study.set_user_attr(PLAN, asked)

    @property
    def batches(self) -> list[Batch]:
        """All batches so far, in their order."""
        return [self._batch(each["request_id"], each["trials"]) for each in self._recorded]

    @property
    def trial_count(self) -> int:
        """Trials that were asked for."""
        return sum(len(each["trials"]) for each in self._recorded)

    def open_batch(self) -> Batch | None:
        """The batch whose distances are still missing, if there is one."""
        for batch in self.batches[-1:]:
            if any(self._trial(number).state is TrialState.RUNNING for number in batch.trials):
                return batch
        return None

    def ask(self, count: int) -> Batch:
        """A new batch of trials. It depends only on the plan and on the distances so far."""
        recorded = self._recorded
        batched = {number for each in recorded for number in each["trials"]}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.number not in batched:  # of a batch that was dropped, or never written
                self._study.tell(trial.number, state=TrialState.FAIL)
        # A sampler for each batch: one that goes on in another process would draw the first numbers again.
        seed = np.random.SeedSequence([self._plan.sampler_seed, len(recorded)]).generate_state(1)
        self._study.sampler = TPESampler(seed=int(seed[0]), constant_liar=True)
        numbers = [self._study.ask(self._distributions).number for _ in range(count)]
        request_id = str(uuid4())
        self._study.set_user_attr(BATCHES, [*recorded, {"request_id": request_id, "trials": numbers}])
        return self._batch(request_id, numbers)

    def drop(self, batch: Batch) -> None:
        """Forget the last batch, which has no distances: the next one proposes again."""
        recorded = self._recorded
        assert recorded[-1]["request_id"] == batch.request_id
        self._study.set_user_attr(BATCHES, recorded[:-1])

    def tell(self, batch: Batch, distances: Mapping[Settings, float]) -> None:
        """The distance of each of the batch's settings."""
        for number, settings in batch.trials.items():
            if self._trial(number).state is TrialState.RUNNING:
                distance = distances[settings]
                if math.isfinite(distance):
                    self._study.tell(number, distance)
                else:
                    self._study.tell(number, state=TrialState.FAIL)
        told = {self._settings(each) for each in self._study.get_trials(deepcopy=False)}
        for number, settings in batch.trials.items():
            for prefix in self._plan.prefixes(settings):
                if prefix not in told and math.isfinite(distances[prefix]):
                    told.add(prefix)
                    self._add(number, prefix, distances[prefix])

    def _add(self, number: int, prefix: Settings, distance: float) -> None:
        params = {**self._trial(number).params, "steps": prefix.steps}
        self._study.add_trial(
            optuna.trial.create_trial(
                value=distance,
                params=params,
                distributions=self._distributions,
                user_attrs={PREFIX_OF: number},
            )
        )

    @property
    def _recorded(self) -> list[dict[str, Any]]:
        return list(self._study.user_attrs.get(BATCHES, []))

    @property
    def _distributions(self) -> dict[str, BaseDistribution]:
        plan = self._plan
        return {
            "learning_rate": FloatDistribution(plan.learning_rate.low, plan.learning_rate.high, log=True),
            "prior_weight": FloatDistribution(plan.prior_weight.low, plan.prior_weight.high, log=True),
            "steps": IntDistribution(int(plan.steps.low), int(plan.steps.high), log=True),
        }

    def _batch(self, request_id: str, numbers: list[int]) -> Batch:
        trials = {number: self._settings(self._trial(number)) for number in numbers}
        every = [each for settings in trials.values() for each in (*self._plan.prefixes(settings), settings)]
        return Batch(request_id, trials, tuple(dict.fromkeys(every)))

    def _trial(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _settings(self, trial: FrozenTrial) -> Settings:
        params = trial.params
        return self._plan.settings(params["learning_rate"], params["prior_weight"], params["steps"])
