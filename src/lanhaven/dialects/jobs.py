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
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler, respond
from lanhaven.dialects.jobs_desk import Desk, JobLimits
from lanhaven.dialects.jobs_models import listed
from lanhaven.dialects.jobs_record import Job
from lanhaven.dialects.jobs_work import work
from lanhaven.dialects.openai import OpenAIDialect, relay_bytes
from lanhaven.dialects.openai_fields import check_fields, check_messages
from lanhaven.dialects.openai_models import model_card
from lanhaven.errors import GatewayError, InvalidRequest
from lanhaven.gateway import Gateway
from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.wire import KEEP_ALIVE, encode, read_object, sse

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
        self._openai = OpenAIDialect(gateway)

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
            f"{ROOT}/lmstudio/models": {"GET": self._models, "HEAD": self._models},
            f"{ROOT}/generate": {"POST": self._generate},
        }

    async def _start(self, call: Call) -> None:
        body = _chat_body(call)
        if body.get("n") not in (None, 1):
            raise InvalidRequest("A job gives one answer: n must be 1.", param="n", retry=False)
        request = self._request(body, call)
        model = self._gateway.catalog.resolve(request.model, self._gateway.pool.ids()).info.key
        job = Job(model, call.key_name)
        self.desk.start(job, work(job, self._gateway, request, self._words))
        await call.reply(202, encode({"job_id": job.id, "model": job.model, "created": job.created}))

    def _words(self, error: GatewayError) -> bytes:
        return self.error_body(error, "")

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

    async def _models(self, call: Call) -> None:
        cards = [model_card(each, self._gateway) for each in self._gateway.catalog.models()]
        await call.reply(200, encode(listed(cards, _query(call))))

    async def _generate(self, call: Call) -> None:
        body = _chat_body(call, prompt=True)
        request = replace(self._request(body, call), body={**body, "stream": False})
        await respond(call, self._gateway, request, relay_bytes)

    def _request(self, body: dict[str, Any], call: Call) -> InferenceRequest:
        return InferenceRequest(
            Route.CHAT, body, call.request_id, call.path, call.method, dialect=self.name, client=call.key_name
        )

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return self._openai.error_body(error, request_id)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """For a stream that breaks though its job does not: a defect. Jobs tell of their own failures by `failed`."""
        return sse(self.error_body(error, request_id), "error")


def _chat_body(call: Call, *, prompt: bool = False) -> dict[str, Any]:
    """A chat body, checked as on /v1/chat/completions. `prompt`: a text of that name does for messages."""
    body = read_object(call.body)
    check_fields(body)
    if prompt and "messages" not in body and isinstance(body.get("prompt"), str):
        body["messages"] = [{"role": "user", "content": body.pop("prompt")}]
    check_messages(body)
    return body


def _last_event_id(call: Call) -> int:
    """How many events the reader has: a header, as an EventSource sends it, or a field of the query."""
    headers = [value for name, value in call.headers if name == b"last-event-id"]
    text = headers[-1].decode("latin-1") if headers else _query(call).get("last_event_id", "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InvalidRequest(
            "last_event_id must be the id of an event of this job.", param="last_event_id", retry=False
        )
    return int(text)


def _query(call: Call) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(call.query.decode("latin-1")).items()}
