"""`Inbox`: which messages may be on their way in. They take memory as they arrive, before they can be looked at."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from earwitness.errors import DeadlineExceeded, ResourceExhausted
from earwitness.rpc.auth import NOBODY, caller_name

Message = TypeVar("Message")
GRACE_S = 0.25
"""A message that is here by then was no burden: those of ordinary size come with the headers of their call."""
STRANGER_MESSAGES = 8
"""Messages awaited at once, slow or not yet, on a connection without any credential: probes send one
with the headers of its call, and a flood of headers would keep the server busy before any of it is slow."""
RETRY_AFTER_S = 1.0


class MessageLate(DeadlineExceeded):
    """The message of a call did not come in the time that it may take."""

    reason = "MESSAGE_LATE"


class TooManyMessages(ResourceExhausted):
    """As many slow messages are being received as may be."""

    reason = "TOO_MANY_MESSAGES"


class Inbox:
    """Bounds the messages that take long to arrive: how long, how many for one caller, how many of all.

    All who have shown no credential, as health checks need none, count as one caller with half of a caller's number. A
    message that is slow beyond these numbers ends its call; the others, and quick ones above all, are not held up.
    """

    def __init__(self, time_s: float, caller_slow: int, all_slow: int) -> None:
        """A message may take `time_s`; of slow ones each caller may have `caller_slow`, all callers `all_slow`."""
        self._time_s = time_s
        self._caller_slow = caller_slow
        self._all_slow = all_slow
        self._slow: Counter[str] = Counter()
        self._of_strangers: Counter[str] = Counter()

    async def receive(self, read: Callable[[], Awaitable[Message]], peer: str) -> Message:
        """The message that `read` awaits, once it is here; `peer` is the connection that it comes by.

        Raises: MessageLate; TooManyMessages; whatever reading raises.
        """
        name = caller_name()
        if name != NOBODY:
            return await self._receive(read(), name)
        if self._of_strangers[peer] >= STRANGER_MESSAGES:
            raise TooManyMessages(
                f"{STRANGER_MESSAGES} messages are on their way on a connection without any credential, the most that "
                f"may be; try again in {RETRY_AFTER_S:g} s",
                retry_after_s=RETRY_AFTER_S,
            )
        self._of_strangers[peer] += 1
        try:
            return await self._receive(read(), name)
        finally:
            self._of_strangers[peer] -= 1
            if not self._of_strangers[peer]:
                del self._of_strangers[peer]

    async def _receive(self, message: Awaitable[Message], name: str) -> Message:
        waiting = _Waiting(self, name, GRACE_S / 2)
        try:
            async with asyncio.timeout(self._time_s) as limit:
                waiting.begin(limit)
                return await message
        except TimeoutError:
            if waiting.refusal is not None:
                raise waiting.refusal from None
            raise MessageLate(
                f"the call's message did not arrive within {self._time_s:g} s; send it with the call, and smaller or "
                "faster (first_message_s)"
            ) from None
        finally:
            waiting.end()

    def take(self, name: str) -> bool:
        """One more slow message of a caller; whether there is room for it."""
        if self._slow[name] >= self._most(name) or self._slow.total() >= self._all_slow:
            return False
        self._slow[name] += 1
        return True

    def give(self, name: str) -> None:
        """One slow message less."""
        self._slow[name] -= 1
        if not self._slow[name]:
            del self._slow[name]

    def refusal(self, name: str) -> TooManyMessages:
        """Why `take` said no."""
        mine = self._slow[name] >= self._most(name)
        count, whose = (self._slow[name], "of yours") if mine else (self._slow.total(), "of all callers")
        return TooManyMessages(
            f"{count} slow messages {whose} are on their way, the most that may be; try again in {RETRY_AFTER_S:g} s",
            retry_after_s=RETRY_AFTER_S,
        )

    def _most(self, name: str) -> int:
        return self._caller_slow if name != NOBODY else max(1, self._caller_slow // 2)


class _Waiting:
    """One message that is awaited: it turns slow after twice `half_s`, two looks that a busy loop cannot make one."""

    def __init__(self, inbox: Inbox, name: str, half_s: float) -> None:
        self.refusal: TooManyMessages | None = None
        self._inbox = inbox
        self._name = name
        self._half_s = half_s
        self._slow = False

    def begin(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._look = self._loop.call_later(self._half_s, self._look_again)

    def end(self) -> None:
        self._look.cancel()
        if self._slow:
            self._inbox.give(self._name)

    def _look_again(self) -> None:
        self._look = self._loop.call_later(self._half_s, self._judge)

    def _judge(self) -> None:
        self._slow = self._inbox.take(self._name)
        if not self._slow and not self._limit.expired():
            self.refusal = self._inbox.refusal(self._name)
            self._limit.reschedule(self._loop.time())
