"""`run`: the main function of a service."""

import asyncio
import gc
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import CliApp

from earwitness.errors import EarwitnessError
from earwitness.rpc.logs import setup_logging
from earwitness.rpc.server import RpcServer
from earwitness.rpc.settings import ServerSettings

Settings = TypeVar("Settings", bound=ServerSettings)
_logger = logging.getLogger(__name__)


def run(settings_class: type[Settings], build_server: Callable[[Settings], Awaitable[RpcServer]]) -> None:
    """Read the settings from options and environment (`--help` lists them), then serve until a signal.

    Raises: SystemExit with status 1 when the service cannot start, 2 for wrong settings.
    """
    try:
        settings = CliApp.run(settings_class)
    except ValidationError as err:
        problems = (f"{'.'.join(map(str, each['loc'])) or 'settings'}: {each['msg']}" for each in err.errors())
        sys.stderr.write("\n".join(problems) + "\n")
        raise SystemExit(2) from None
    setup_logging(settings.log_format, settings.log_level)

    async def serve() -> None:
        server = await build_server(settings)
        try:
            await server.start()
            _exempt_from_collection()
            await server.run_until_signal()
        finally:
            await server.stop(drain_s=0)

    try:
        asyncio.run(serve())
    except (EarwitnessError, OSError) as err:
        _logger.critical("cannot start: %s", err)
        raise SystemExit(1) from err


def _exempt_from_collection() -> None:
    """Take all objects that there are out of Python's garbage collection: modules, classes, what was built at start.

    A full collection would look at a hundred thousand of them, 60 to 100 ms in which no call is answered, each time
    that some hundred calls have come; what calls leave behind is still collected.
    """
    gc.collect()
    gc.freeze()
