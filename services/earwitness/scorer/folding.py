"""Folds what shards left into one version, here or, where that is long work, in a process of its own.

Such a process gives way to everything else on the machine, takes its memory with it when it ends, and ends in the
middle of an eigenproblem when nobody waits for it any more: a thread does none of these. It knows neither the database
nor the network: it is sent what shards left, and sends back what is to be stored.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from struct import Struct
from threading import Lock
from typing import IO, Any

from earwitness.processes import with_parent
from earwitness.scorer.collect import Collector, Frozen, collector
from earwitness.scorer.errors import FreezeTooLarge
from earwitness.scorer.frozen_layers import joined_body
from earwitness.scorer.layers import Layout
from earwitness.storage.errors import StoreDamaged
from earwitness.vocabulary.reference import KeptLayer, Selection

Body = tuple[int, Iterable[bytes]]
"""What a shard left: how many bytes, and these in pieces."""

_LENGTH = Struct("<Q")
_NICENESS = 5
_BUFFER_BYTES = 2**20
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Folding:
    """What is to be stored of a version: the `state` that the next one builds on, the `frozen` that batches are scored
    against, how many rows were selected, and the range of the selection's unit among them."""

    selected_count: int
    unit_minimum: float
    unit_maximum: float
    state: bytes
    frozen: bytes


class Stopped(Exception):
    """Nobody waits for the work any more."""


class Stop:
    """Ends work that runs in another thread: at its next step, and its process, if it has one, at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._told = False
        self._process: subprocess.Popen[bytes] | None = None

    def tell(self) -> None:
        """May be called from any thread, and again."""
        with self._lock:
            self._told = True
            if self._process is not None:
                self._process.kill()

    def require_not(self) -> None:
        """Raises: Stopped after a request to stop."""
        if self._told:
            raise Stopped

    @contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """`process` ends with the block at the latest."""
        with self._lock:
            self._process = process
        try:
            self.require_not()
            yield
        finally:
            with self._lock:
                self._process = None
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):  # what was not sent yet
                    pipe.close()  # type: ignore[union-attr]
            process.wait()


def fold_here(selection: Selection, layout: Layout, bodies: Iterable[Body], stop: Stop) -> Folding:
    """Folds `bodies` of rows of this layout in this thread. Raises: Stopped; StoreDamaged."""
    collected = collector(layout.in_rows(selection), layout.width)
    for _, pieces in bodies:
        stop.require_not()
        collected.add_body(b"".join(pieces))
    state, (told, frozen) = collected.body(), _frozen(collected, selection, layout)
    return Folding(**told, state=state, frozen=frozen)


def fold_apart(reference_id: str, selection: Selection, layout: Layout, bodies: Iterable[Body], stop: Stop) -> Folding:
    """Folds `bodies` in a process of its own. Raises: Stopped; StoreDamaged; FreezeTooLarge."""
    command = [*with_parent(), sys.executable, "-m", "earwitness.scorer.folding"]
    process = subprocess.Popen(  # noqa: S603
        command, bufsize=_BUFFER_BYTES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | _ONE_THREAD
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with stop.ending(process):
        try:
            _send(process.stdin, json.dumps({"selection": asdict(selection), "layout": asdict(layout)}).encode())
            for size, pieces in bodies:
                stop.require_not()
                process.stdin.write(_LENGTH.pack(size))
                for piece in pieces:
                    process.stdin.write(piece)
            process.stdin.close()
            state = _receive(process.stdout)
            told = json.loads(_receive(process.stdout))
            if "damage" in told:
                raise StoreDamaged(told["damage"])
            return Folding(**told, state=state, frozen=_receive(process.stdout))
        except (BrokenPipeError, EOFError) as err:
            stop.require_not()
            status = process.wait()
            if status == -signal.SIGKILL:
                raise FreezeTooLarge(reference_id, -status) from err
            raise RuntimeError(f"the process that folds shards ended with status {status}") from err


def main() -> None:
    """What the process does: bodies come in at its standard input, what is to be stored goes out."""
    os.nice(_NICENESS)
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb", _BUFFER_BYTES)
    asked = json.loads(_receive(source))
    layers = tuple(KeptLayer(**each) for each in asked["layout"]["layers"])
    try:
        told, body = _fold(source, sink, Selection(**asked["selection"]), Layout(layers, asked["layout"]["own"]))
        _send(sink, json.dumps(told).encode())
        _send(sink, body)
    except StoreDamaged as err:
        _send(sink, b"")
        _send(sink, json.dumps({"damage": err.complaint}).encode())
    sink.flush()


def _fold(source: IO[bytes], sink: IO[bytes], selection: Selection, layout: Layout) -> tuple[dict[str, Any], bytes]:
    """Folds what comes, and sends the state on, before what batches are scored against takes its room."""
    collected = collector(layout.in_rows(selection), layout.width)
    with suppress(EOFError):
        while True:
            collected.add_body(_receive(source))
    _send(sink, collected.body())
    sink.flush()
    return _frozen(collected, selection, layout)


def _frozen(collected: Collector, selection: Selection, layout: Layout) -> tuple[dict[str, Any], bytes]:
    """What is recorded of a version, and what batches are scored against: each layer by itself, as if it were alone."""
    bodies, told = list[bytes](), dict[str, Any]()
    for index in range(len(layout.layers)):
        frozen = collected.frozen(layout.columns(index))
        bodies.append(frozen.to_body())
        if index == layout.own:
            told = _told(frozen, selection)
        del frozen  # with its layer's matrix, the largest of all: gone before the next one needs the room
    return told, joined_body(bodies)


def _told(frozen: Frozen, selection: Selection) -> dict[str, Any]:
    return {
        "selected_count": frozen.gaussian.count,
        "unit_minimum": float(frozen.minimum[selection.column]),
        "unit_maximum": float(frozen.maximum[selection.column]),
    }


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)


def _receive(pipe: IO[bytes]) -> bytes:
    """Raises: EOFError at the end."""
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return _exactly(pipe, size)


def _exactly(pipe: Any, size: int) -> bytes:
    data: bytes = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
