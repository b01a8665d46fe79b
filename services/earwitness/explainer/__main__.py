"""`python -m earwitness.explainer`: the explainer's server."""

from earwitness.explainer.server import build_server
from earwitness.explainer.settings import ExplainerSettings
from earwitness.rpc.run import run

if __name__ == "__main__":
    run(ExplainerSettings, build_server)
