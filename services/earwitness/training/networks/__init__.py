"""The networks earwitness trains: a classifier to be explained and the generator that spans its input."""

from earwitness.training.networks.critic import Critic
from earwitness.training.networks.detector import Detector
from earwitness.training.networks.generator import Arch, Generator, RefinedGenerator, make_generator
from earwitness.training.networks.normalised import NormalisedSVDNet
from earwitness.training.networks.replay import ReplayNetwork
from earwitness.training.networks.standardise import BandStandardise
from earwitness.training.networks.svd import SVDNet

__all__ = [
    "Arch",
    "BandStandardise",
    "Critic",
    "Detector",
    "Generator",
    "NormalisedSVDNet",
    "RefinedGenerator",
    "ReplayNetwork",
    "SVDNet",
    "make_generator",
]
