"""What a sweep bears from its models before it takes them for broken."""

import asyncio

from earwitness.errors import EarwitnessError
from earwitness.inference.backend import InferenceFailed, InferenceOverloaded, InferenceUnavailable, ModelNotServed

FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
"""Between tries while the models cannot be reached."""
MAX_FAILURES = 8
"""Failures of the models that a block bears without a step between them (a minute of pauses) before they are taken for
broken: an inference server that dies or comes up fails in many ways before it is gone or there."""
AWAY = (InferenceUnavailable, InferenceOverloaded)
"""Borne without end: nothing of the models themselves is wrong."""
PASSING = (*AWAY, InferenceFailed, ModelNotServed)


class Patience:
    """What one block, or one question, has borne from the models since they last answered it."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """They answer."""
        self.pause_s, self.failure_count = FIRST_PAUSE_S, 0

    async def bear(self, err: EarwitnessError) -> None:
        """Wait, twice as long as the time before. Raises: `err` when the models are taken for broken."""
        if not isinstance(err, AWAY):
            self.failure_count += 1
            if self.failure_count >= MAX_FAILURES:
                raise err
        await asyncio.sleep(self.pause_s)
        self.pause_s = min(2 * self.pause_s, MAX_PAUSE_S)
