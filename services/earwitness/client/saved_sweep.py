"""A sweep with all that it takes to judge, rank and hear it again without the explainer that made it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from earwitness.client.criteria import criterion_name
from earwitness.client.fitting import require_selection
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweep_values import Sweep, SweepRanking
from earwitness.client.values import Criterion, FloatArray, Model, Reference
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.vocabulary.names import short


@dataclass(frozen=True, eq=False)
class SavedSweep:
    """A sweep whose done results all hold their tensors, its model, and for each objective the reference that it is
    ranked against, None where it is not ranked."""

    sweep: Sweep
    model: Model
    references: tuple[Reference | None, ...]

    async def ranked(self, scorer: ScorerClient, references: Sequence[str], *, by_unit: bool = False) -> "SavedSweep":
        """The sweep with its settings ranked against `references`, one for each objective, or against its own.

        They are ranked by the published distance, the only one that the activations of one layer allow; of a sweep
        that was ranked by others `by_unit` has to ask for it.

        Raises: InvalidArgument; FailedPrecondition for an objective of which nothing is done; RpcFailure, as for a
        reference of other weights.
        """
        objectives = self.sweep.objectives
        if references and len(references) != len(objectives):
            raise InvalidArgument("reference", f"got {len(references)}; the sweep has {len(objectives)} objectives")
        names = references or [each.reference or "" for each in objectives]
        if not any(names):
            raise InvalidArgument("reference", f"got none, and sweep {self.sweep.sweep_id} has none; name one")
        rankings = {each.objective_index: each for each in self.sweep.rankings}
        if not by_unit and (others := {each.criterion for each in rankings.values()} - {None, Criterion()}):
            named = " and ".join(sorted(criterion_name(each) for each in others if each is not None))
            raise InvalidArgument(
                "criterion",
                f"is {named} for sweep {self.sweep.sweep_id}, and a folder holds the activations of one layer alone: "
                "rank the explainer's sweep, by its id, or give unit",
            )
        found = list(self.references)
        for index, name in enumerate(names):
            if name:
                found[index] = reference = await scorer.get_reference(short(name).partition("/")[0])
                require_selection(reference, objectives[index].objective)
                rankings[index] = await self._ranking(scorer, index, name)
        ordered = tuple(rankings[index] for index in sorted(rankings))
        return replace(self, sweep=replace(self.sweep, rankings=ordered), references=tuple(found))

    async def _ranking(self, scorer: ScorerClient, index: int, reference: str) -> SweepRanking:
        asked = self.sweep.objectives[index]
        done = [each for each in self.sweep.results_of(index) if each.done]
        if not done:
            raise FailedPrecondition(f"no result of {asked.objective} is done in sweep {self.sweep.sweep_id}")
        batches: dict[str, FloatArray] = {}
        for each in done:
            assert each.layer_activations is not None
            batches[f"{each.index:06d}"] = each.layer_activations  # equal distances keep their order
        ranking = await scorer.rank(
            batches,
            reference=reference,
            model=self.model.name,
            weights_sha256=self.sweep.weights_sha256,
            layer=asked.objective.layer,
            unit=None if asked.whole_layer else asked.objective.unit,
        )
        placed = tuple(replace(each, id=str(int(each.id))) for each in ranking.batches)
        return SweepRanking(index, short(ranking.version.name), placed, "")
