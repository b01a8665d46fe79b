"""`python -m earwitness.explainer`: the explainer's server; `... migrate`: the schema of its database."""

import sys

from pydantic_settings import CliApp

from earwitness.explainer.server import build_server
from earwitness.explainer.settings import ExplainerSettings
from earwitness.explainer.sweep.migration import SCHEMA
from earwitness.rpc.run import run

SWITCH_S = 0.001
"""How long a thread that renders keeps the others waiting: of Python's own 5 ms, an answer of many rows takes a lot."""

if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_S)
    if sys.argv[1:2] == ["migrate"]:
        SCHEMA.migrate_command(lambda options: CliApp.run(ExplainerSettings, cli_args=options).store_url)
    else:
        run(ExplainerSettings, build_server)
