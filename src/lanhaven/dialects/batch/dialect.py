"""The batch dialect: many prompts in one call, and OpenAI's batches of files.

    POST /v1/batch/chat/completions     prompts or requests; each answer by itself, whole or as they come
    POST /v1/chat/completions           the same where `processing_mode` says so; anything else is OpenAI's dialect's
    /v1/files, /v1/batches              files with requests, worked through in the background

Each path also without /v1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from lanhaven.dialects.base import SSE, Call, Dialect, DialectContext, Handler
from lanhaven.dialects.batch.asking import Asker
from lanhaven.dialects.batch.batches import Batches
from lanhaven.dialects.batch.files import Files
from lanhaven.dialects.batch.prompts import OWN, Plan, is_batch, read_plan
from lanhaven.dialects.batch.results import item, summary, whole
from lanhaven.dialects.batch.running import CHAT, Result, Running
from lanhaven.dialects.batch.shelf import Shelf
from lanhaven.dialects.batch.worker import Worker
from lanhaven.dialects.openai.dialect import OpenAIDialect
from lanhaven.dialects.openai.errors import error_body
from lanhaven.dialects.responses.dialect import ResponsesDialect
from lanhaven.errors import GatewayError
from lanhaven.wire import DONE, KEEP_ALIVE, encode, read_strict, sse

ENDPOINTS = (CHAT, "/v1/completions", "/v1/embeddings", "/v1/responses")  # of the lines of a file


class BatchDialect(Dialect):
    """See the module."""

    name = "batch"
    stream_headers = SSE
    keep_alive = KEEP_ALIVE
    uploads = frozenset({"/v1/files", "/files"})

    def __init__(self, context: DialectContext) -> None:
        self._gateway = context.gateway
        self._openai = OpenAIDialect.create(context)
        self._chat = self._openai.routes()[CHAT]["POST"]
        self._asker = Asker((self._openai, ResponsesDialect.create(context)), ENDPOINTS, context.tap)
        shelf = Shelf(context.data_dir, context.batch.keep)
        worker = Worker(shelf, self._asker, context.gateway, context.batch)
        context.background.add(worker)
        files = Files(shelf, context.batch)
        self._kept = {**files.routes(), **Batches(shelf, files, worker, ENDPOINTS).routes()}

    @classmethod
    def create(cls, context: DialectContext) -> BatchDialect:
        """For the registry."""
        return cls(context)

    def routes(self) -> Mapping[str, Mapping[str, Handler]]:
        """Path -> method -> handler."""
        table: dict[str, Mapping[str, Handler]] = {
            "/batch/chat/completions": {"POST": self._batch},
            "/chat/completions": {"POST": self._chat_or_batch},
            **self._kept,
        }
        return {prefix + path: methods for path, methods in table.items() for prefix in ("/v1", "")}

    def _chat_or_batch(self, call: Call) -> Awaitable[None]:
        if b'"processing_mode"' in call.body:
            body = read_strict(call.body)
            if is_batch(body):
                return self._serve(body, call)
            call.body = encode({name: value for name, value in body.items() if name not in OWN or "stream" in name})
        call.dialect = self._openai
        return self._chat(call)

    async def _batch(self, call: Call) -> None:
        await self._serve(read_strict(call.body), call)

    async def _serve(self, body: dict[str, Any], call: Call) -> None:
        plan = read_plan(body)
        running = Running(plan, self._asker, self._gateway, call)
        if plan.stream:
            await stream(call, plan, running)
            return
        results: list[Result] = []

        async def keep(result: Result) -> None:
            results.append(result)

        await running.run(keep)
        await call.reply(200, encode(whole(results, plan, call.request_id, running.seconds)))

    def error_body(self, error: GatewayError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return error_body(error)

    def error_frame(self, error: GatewayError, request_id: str) -> bytes:
        """For a defect: what fails of a batch is told in its items."""
        return sse(error_body(error))


async def stream(call: Call, plan: Plan, running: Running) -> None:
    """Each answer as it is there, then the sums. An item stands in a field of its own: OpenAI's clients would take an
    `error` beside it for the end of the stream."""
    results: list[Result] = []

    async def tell(result: Result) -> None:
        results.append(result)
        entry = item(result, plan, call.request_id)
        await call.start()
        await call.write(sse(encode({"object": "chat.completion.batch.item", "item": entry})))

    call.expect_stream()
    try:
        await running.run(tell)
        await call.write(sse(encode(summary(results, plan, call.request_id, running.seconds))) + DONE)
        await call.finish()
    finally:
        call.release()
