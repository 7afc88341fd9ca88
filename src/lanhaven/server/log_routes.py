"""The logs' routes: the last lines of one, and every new one live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from lanhaven.events import utc_now
from lanhaven.server.callers import Callers
from lanhaven.server.debug import PULSE, endless
from lanhaven.server.log_lines import LINES, LOOK_SECONDS, SERVER, Line, Logs
from lanhaven.server.services import Services
from lanhaven.wire import KEEP_ALIVE, encode, sse

Source = Annotated[str, Query(min_length=1, max_length=512)]
Count = Annotated[int, Query(ge=0, le=LINES)]
QUIET_LOOKS = round(PULSE / LOOK_SECONDS)


def logs_router(services: Services, callers: Callers) -> APIRouter:
    """Routes under /debug/logs."""
    router, logs = APIRouter(prefix="/debug", tags=["debug"]), services.logs
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such log."}}

    @router.get("/logs", responses=missing)
    async def logs_of(source: Source = SERVER, lines: Count = 500) -> dict[str, Any]:
        """The last lines of the server's log, or of the engine of an instance; and which logs there are."""
        found = logs.lines(source)
        shown = found[len(found) - min(lines, len(found)) :]
        return {"source": source, "sources": logs.sources(), "lines": [each.as_json() for each in shown]}

    @router.get("/logs/stream", response_class=StreamingResponse, responses=missing)
    async def logs_stream(request: Request, source: Source = SERVER, lines: Count = 0) -> StreamingResponse:
        """A log as Server-Sent Events: `connected` (`lines`: how many of those that follow were there before), its last
        lines, then each new one as `line`, and `shutdown`."""
        logs.check(source)
        return endless(request, callers, _events(logs, source, lines))

    return router


async def _events(logs: Logs, source: str, backlog: int) -> AsyncGenerator[bytes, None]:
    seen = logs.lines(source)
    told = min(backlog, len(seen))
    yield sse(encode({"timestamp": utc_now(), "message": f"Following the log of {source}", "lines": told}), "connected")
    quiet = 0
    async with aclosing(logs.follow(source, seen, told)) as lines:
        async for line in lines:
            quiet = quiet + 1 if line is None else 0
            if line is not None:
                yield _event(line)
            elif quiet % QUIET_LOOKS == 0:
                yield KEEP_ALIVE
    yield sse(encode({"timestamp": utc_now(), "message": "The server is going down"}), "shutdown")


def _event(line: Line) -> bytes:
    return sse(encode(line.as_json()), "line")
