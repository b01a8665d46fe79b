"""What a bundle recommends, as settings of a search."""

from dataclasses import replace

from earwitness.explainer.ways import DEFAULTS, Resolved, as_sent
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.recommendation import Recommendation
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.search import Target


def settings_of(recommendation: Recommendation) -> Resolved:
    """Its settings, what it leaves out at the way's default."""
    given = dict(recommendation.settings)
    base = DEFAULTS[given.pop("optimiser")]
    target = given.pop("target", None)
    return as_sent(replace(base, **given, target=None if target is None else Target(target["low"], target["high"])))


def recommended(bundle: BundleMetadata, objective: Objective) -> Resolved | None:
    """The settings recommended for an objective; None where there are none, as for every direction."""
    aim = (objective.layer, objective.unit, objective.sense)
    return next((settings_of(each) for each in bundle.recommendations if each.aim == aim), None)
