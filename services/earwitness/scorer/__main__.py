"""`python -m earwitness.scorer`: the scorer's server; `python -m earwitness.scorer migrate`: its database's schema."""

import sys

from pydantic_settings import CliApp
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.errors import EarwitnessError
from earwitness.rpc.run import run
from earwitness.scorer.database import Database
from earwitness.scorer.migration import migrate
from earwitness.scorer.server import build_server
from earwitness.scorer.settings import ScorerSettings


def migrate_database(arguments: list[str]) -> None:
    """Brings the database of the settings to the schema of this version.

    Raises: SystemExit with status 1 when it cannot.
    """
    database = Database(CliApp.run(ScorerSettings, cli_args=arguments).store_url)
    try:
        migrate(database)
    except EarwitnessError as err:
        sys.stderr.write(f"cannot migrate: {err}\n")
        raise SystemExit(1) from err
    finally:
        database.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["migrate"]:
        migrate_database(sys.argv[2:])
    else:
        # The scorer has threads of its own; BLAS's would spin against them and against everything else on the machine.
        with threadpool_limits(1):
            run(ScorerSettings, build_server)
