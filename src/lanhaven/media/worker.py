"""The process that reads images: `python -m lanhaven.media.worker`. Messages on standard input, answers on output.

It is bounded in memory for good and in CPU time for each image; what breaks a bound ends the process, and the server
starts another. It ends when the server does, also in the midst of an image.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from typing import Any, BinaryIO

from lanhaven.media.frames import PREFIX, frame, sizes
from lanhaven.media.pixels import Job, Picture, Refused, convert

MEMORY = 1 << 30  # bytes of addresses beyond those that the interpreter takes itself
CPU_SECONDS = 10  # for one image
OOM_SCORE = 800  # the kernel takes it before an engine


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to judge
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints breaks nothing
    _bound_memory()
    _end_with_server()
    while (message := _read(source)) is not None:
        head, payload = message
        _bound_cpu()
        answer, data = _answer(head, payload)
        out.write(frame(answer, len(data)))
        out.write(data)
        out.flush()


def _answer(head: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        picture = convert(payload, Job(**head))
    except Refused as error:
        return {"refused": error.reason}, b""
    except MemoryError:
        return {"refused": "costs"}, b""
    except Exception:  # noqa: BLE001 - Pillow's parsers raise whatever they stumble over; none of it is told
        return {"refused": "damaged"}, b""
    return _told(picture), picture.data or b""


def _told(picture: Picture) -> dict[str, Any]:
    told = {"mime": picture.mime, "width": picture.width, "height": picture.height}
    return told | {"same": picture.data is None}


def _read(source: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    prefix = source.read(PREFIX.size)
    if len(prefix) < PREFIX.size:
        return None
    head_size, payload_size = sizes(prefix)
    head, payload = source.read(head_size), source.read(payload_size)
    if len(payload) < payload_size:
        return None
    told: dict[str, Any] = json.loads(head)
    return told, payload


def _bound_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere the limit is taken and not kept
        with open("/proc/self/statm") as file:  # noqa: PTH123 - one word of one line
            own = int(file.read().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, own + MEMORY)
        _die_first()


def _die_first() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(str(OOM_SCORE))
    except OSError:
        pass  # a container may forbid it


def _bound_cpu() -> None:
    """SIGXCPU ends the process when it has used so many seconds more than now."""
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_SECONDS)


def _limit(kind: int, soft: int) -> None:
    """A bound of the machine that is tighter stays."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _end_with_server() -> None:
    """Between images the end of standard input is read; in the midst of one, a thread sees the other end close."""
    if sys.platform == "win32":
        return
    hangup = select.poll()
    hangup.register(0, select.POLLHUP)

    def watch() -> None:
        hangup.poll()
        os._exit(0)

    threading.Thread(target=watch, name="hangup", daemon=True).start()


if __name__ == "__main__":
    main()
