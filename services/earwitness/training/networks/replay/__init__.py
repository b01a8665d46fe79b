"""Networks that tell genuine speech from replayed speech, end to end.

Source: Chettri et al. 2018 (arXiv:1805.09164).
"""

from earwitness.training.networks.replay.network import GENUINE, LABELS, SPOOF, ReplayNetwork, log_odds, parameter_table
from earwitness.training.networks.replay.stack import ACTIVATIONS, Activation, MaxFeatureMap
from earwitness.training.networks.replay.table import NETWORKS, NetworkSpec, network_spec

__all__ = [
    "ACTIVATIONS",
    "GENUINE",
    "LABELS",
    "NETWORKS",
    "SPOOF",
    "Activation",
    "MaxFeatureMap",
    "NetworkSpec",
    "ReplayNetwork",
    "log_odds",
    "network_spec",
    "parameter_table",
]
