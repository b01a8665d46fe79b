"""What a bundle recommends, as settings of a search."""

from dataclasses import replace

from earwitness.explainer.objective import Direction, Objective
from earwitness.explainer.ways import DEFAULTS, OptimiserName, Settings, Target, as_sent
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.recommendation import Recommendation


def settings_of(recommendation: Recommendation) -> Settings:
    """Its settings, what it leaves out at the way's default."""
    given = dict(recommendation.settings)
    base = DEFAULTS[OptimiserName(given.pop("optimiser"))]
    target = given.pop("target", None)
    return as_sent(replace(base, **given, target=None if target is None else Target(target["low"], target["high"])))


def recommended(bundle: BundleMetadata, objective: Objective) -> Settings | None:
    """The settings recommended for an objective; None where there are none, as for every direction."""
    if isinstance(objective.target, Direction):
        return None
    aim = (objective.layer, objective.target, objective.sense.name.lower())
    return next((settings_of(each) for each in bundle.recommendations if each.aim == aim), None)
