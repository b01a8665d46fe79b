"""`python -m earwitness.scorer`: the scorer's server; `python -m earwitness.scorer migrate`: its database's schema."""

import sys

from pydantic_settings import CliApp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.processes import give_memory_back
from earwitness.rpc.run import run
from earwitness.scorer.migration import SCHEMA
from earwitness.scorer.server import build_server
from earwitness.scorer.settings import ScorerSettings

if __name__ == "__main__":
    if sys.argv[1:2] == ["migrate"]:
        SCHEMA.migrate_command(lambda options: CliApp.run(ScorerSettings, cli_args=options).store_url)
    else:
        # The scorer has threads of its own; BLAS's would spin against them and against everything else on the machine.
        give_memory_back()
        with threadpool_limits(1):
            run(ScorerSettings, build_server)
