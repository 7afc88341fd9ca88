"""Inference as jobs, under /api/v1/ai: start one, read its events as often as you like, from wherever you left off.

    POST   /api/v1/ai/lmstudio/infer            a chat body -> 202 {"job_id", "model", "created"}
    GET    /api/v1/ai/lmstudio/stream/{job_id}  its events, from Last-Event-ID or ?last_event_id= on
    DELETE /api/v1/ai/lmstudio/jobs/{job_id}    end it, or forget one that is over
    GET    /api/v1/ai/lmstudio/models           the list of /v1/models, with filters
    POST   /api/v1/ai/generate                  a chat body, or a prompt -> the whole answer

Requests and errors are in OpenAI's words. A job belongs to the key that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, overflow_asked
from lanhaven.dialects.jobs.desk import Desk, JobLimits
from lanhaven.dialects.jobs.record import Job
from lanhaven.dialects.jobs.work import work
from lanhaven.dialects.openai.dialect import OpenAIDialect
from lanhaven.dialects.openai.errors import error_body
from lanhaven.dialects.openai.fields import check_fields, check_messages, take_load
from lanhaven.dialects.tools.settling import settle
from lanhaven.errors import GatewayError, InvalidRequest
from lanhaven.gateway import Gateway
from lanhaven.types.chat import Route
from lanhaven.wire import KEEP_ALIVE, encode, read_strict, sse

ROOT = "/api/v1/ai"
STREAM = f"{ROOT}/lmstudio/stream/"
JOBS = f"{ROOT}/lmstudio/jobs/"


class JobsDialect(Dialect):
    """See the module."""

    name = "jobs"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE

    def __init__(self, gateway: Gateway, limits: JobLimits | None = None) -> None:
        self.desk = Desk(limits or JobLimits())
        self._gateway = gateway
        openai = OpenAIDialect(gateway).routes()
        self._chat = openai["/v1/chat/completions"]["POST"]
        self._models = openai["/v1/models"]

    @classmethod
    def create(cls, context: DialectContext) -> JobsDialect:
        """For the registry."""
        return cls(context.gateway)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        return {
            f"{ROOT}/lmstudio/infer": {"POST": self._start},
            STREAM: {"GET": self._stream},
            JOBS: {"DELETE": self._cancel},
            f"{ROOT}/lmstudio/models": self._models,
            f"{ROOT}/generate": {"POST": self._generate},
        }

    async def _start(self, call: Call) -> None:
        body = read_strict(call.body)
        check_fields(body)
        check_messages(body)
        if body.get("n") not in (None, 1):
            raise InvalidRequest("A job gives one answer: n must be 1.", param="n", retry=False)
        load = take_load(body)
        request = call.inference(Route.CHAT, body)
        request.load = load
        request.overflow = overflow_asked(call.headers)
        info = self._gateway.infer(request).resolve().info
        offer, notes = settle(self._gateway, body)
        call.extra = notes
        job = Job(info.key, call.key_name)
        self.desk.start(job, work(job, self._gateway, request, error_body, offer))
        await call.reply(202, encode({"job_id": job.id, "model": job.model, "created": job.created}))

    async def _stream(self, call: Call) -> None:
        job = self.desk.find(call.path.removeprefix(STREAM), call.key_name)
        seen = _last_event_id(call)
        if job.over and seen >= job.count:
            # 204 tells an EventSource that it shall not come back, which it does by itself after every end.
            await call.send({"type": "http.response.start", "status": 204, "headers": []})
            await call.send({"type": "http.response.body", "body": b""})
            return
        with self.desk.reading(job):
            call.expect_stream()
            try:
                await call.start()
                while frames := await job.after(seen):
                    await call.write(b"".join(frames))
                    seen += len(frames)
                await call.finish()
            finally:
                call.release()

    async def _cancel(self, call: Call) -> None:
        job_id = call.path.removeprefix(JOBS)
        was_over = self.desk.find(job_id, call.key_name).over
        self.desk.cancel(job_id, call.key_name)
        await call.reply(200, encode({"job_id": job_id, "status": "forgotten" if was_over else "cancelled"}))

    async def _generate(self, call: Call) -> None:
        body = read_strict(call.body)
        if "messages" not in body and isinstance(body.get("prompt"), str):
            body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
        call.body = encode({**body, "stream": False})
        await self._chat(call)

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """For a stream that breaks though its job does not: a defect. Jobs tell of their own failures by `failed`."""
        return sse(error_body(error), "error")


def _last_event_id(call: Call) -> int:
    """How many events the reader has: a header, as an EventSource sends it, or a field of the query."""
    headers = [value for name, value in call.headers if name == b"last-event-id"]
    text = headers[-1].decode("latin-1") if headers else _queried(call, "last_event_id")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InvalidRequest(
            "last_event_id must be the id of an event of this job.", param="last_event_id", retry=False
        )
    return int(text)


def _queried(call: Call, name: str) -> str:
    return parse_qs(call.query.decode("latin-1")).get(name, [""])[-1]
