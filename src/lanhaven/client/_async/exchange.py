"""One connection pool: requests out, replies in, asked again where that is safe."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from lanhaven import __version__, wire
from lanhaven.client._errors import StreamingFailed
from lanhaven.client._frames import Frame, FrameReader
from lanhaven.client._protocol import (
    Broken,
    Call,
    broken,
    decoded,
    pause_after_break,
    pause_after_error,
    refusal,
)
from lanhaven.client._settings import ClientSettings
from lanhaven.client.trust import verification
from lanhaven.errors import GatewayError, InvalidRequest

if TYPE_CHECKING:
    import ssl


class _Failed(Exception):
    """An attempt whose connection failed."""

    def __init__(self, how: Broken, reason: str) -> None:
        super().__init__(reason)
        self.how = how
        self.reason = reason


class AsyncExchange:
    """HTTP with one server. lmstudio_version: as the headers of its replies told it, None until one did."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self.lmstudio_version: str | None = None
        headers = {"user-agent": f"lanhaven-python/{__version__}", **settings.extra_headers}
        if settings.api_key is not None:
            headers["authorization"] = f"Bearer {settings.api_key}"
        # A proxy from the environment must not come between us and a server on this machine.
        self._http = httpx2.AsyncClient(
            base_url=settings.base_url, headers=headers, verify=trusted(settings), trust_env=not settings.loopback
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def json(self, call: Call) -> Any:
        """The decoded reply. GatewayError."""
        body, headers = await self.whole(call)
        return decoded(body, call, self.settings, headers)

    async def whole(self, call: Call) -> tuple[bytes, Mapping[str, str]]:
        """The bytes of a good reply, and its headers."""
        response, body = await self._answer(call, streamed=False)
        return body, response.headers

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[Frame]]:
        """The events of a reply. It is asked for again until its status line has come, and never after."""
        response, _ = await self._answer(call, streamed=True)
        try:
            if response.status_code == 204:
                yield _nothing_more()
            elif not response.headers.get("content-type", "").startswith("text/event-stream"):
                with self._told(call):
                    body = await _rest_of(response, time.monotonic() + call.timeout)
                decoded(body, call, self.settings, response.headers)
                raise StreamingFailed("The server answered with a whole reply where a stream was asked for.")
            else:
                async with aclosing(self._frames(response, call)) as frames:
                    yield frames
        finally:
            await response.aclose()

    async def _answer(self, call: Call, *, streamed: bool) -> tuple[httpx2.Response, bytes]:
        """A good reply and its body; `streamed`: still open, and its body not yet read."""
        attempt, most = 0, self.settings.max_retries
        while True:
            try:
                response, body = await self._attempt(call, streamed=streamed)
            except _Failed as failure:
                error: GatewayError = broken(failure.how, failure.reason, call, self.settings)
                pause = pause_after_break(call, attempt, most, failure.how, random.random())
            else:
                self.lmstudio_version = response.headers.get("x-lmstudio-version", self.lmstudio_version)
                if response.is_success:
                    return response, body
                error = refusal(response.status_code, body, call, self.settings, response.headers)
                pause = pause_after_error(call, attempt, most, error, random.random())
            if pause is None:
                raise error
            attempt += 1
            await asyncio.sleep(pause)

    async def _attempt(self, call: Call, *, streamed: bool) -> tuple[httpx2.Response, bytes]:
        deadline = time.monotonic() + call.timeout
        with _failures():
            response = await self._http.send(self._request(call), stream=True)
            if streamed and response.is_success:
                return response, b""
            try:
                return response, await _rest_of(response, deadline)
            finally:
                await response.aclose()

    def _request(self, call: Call) -> httpx2.Request:
        form = call.files is not None
        headers = (
            {**call.headers} if form or call.body is None else {"content-type": "application/json", **call.headers}
        )
        return self._http.build_request(
            call.method,
            call.path,
            params=call.query or None,
            content=None if form or call.body is None else _encoded(call.body),
            data=dict(call.body or {}) if form else None,
            files=dict(call.files) if call.files is not None else None,
            headers=headers,
            timeout=httpx2.Timeout(call.timeout, connect=self.settings.connect_timeout),
        )

    async def _frames(self, response: httpx2.Response, call: Call) -> AsyncGenerator[Frame, None]:
        reader = FrameReader()
        with self._told(call):
            async for data in response.aiter_bytes():
                for frame in reader.feed(data):
                    yield frame
        if reader.cut:
            raise StreamingFailed("The server's stream was cut off within a piece.")

    @contextmanager
    def _told(self, call: Call) -> Iterator[None]:
        """A connection that fails after the status line: nothing is asked for again."""
        try:
            with _failures():
                yield
        except _Failed as failure:
            error = broken(failure.how, failure.reason, call, self.settings)
            raise StreamingFailed(f"The stream failed: {error.message}", facts=error.facts) from None


def trusted(settings: ClientSettings) -> ssl.SSLContext | bool:
    """What httpx2 verifies by."""
    return verification(settings.base_url, settings.ca_file) if settings.verify_tls else False


async def _rest_of(response: httpx2.Response, deadline: float) -> bytes:
    parts = []
    async for part in response.aiter_bytes():
        parts.append(part)
        if time.monotonic() > deadline:
            raise _Failed(Broken.SLOW, "its answer came too slowly")
    return b"".join(parts)


async def _nothing_more() -> AsyncGenerator[Frame, None]:
    """What a 204 says, in one frame without data; no other frame is without."""
    yield Frame(None, None)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return wire.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.", retry=False) from None


@contextmanager
def _failures() -> Iterator[None]:
    """What httpx2 raises, by how far the request had come."""
    try:
        yield
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError) as error:
        raise InvalidRequest(f"The request cannot be sent: {error}.", retry=False) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
        raise _Failed(Broken.UNSENT, str(error)) from None
    except httpx2.TimeoutException as error:
        raise _Failed(Broken.SLOW, str(error)) from None
    except httpx2.RequestError as error:
        raise _Failed(Broken.CUT, str(error)) from None
