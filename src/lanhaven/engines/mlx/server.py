"""The worker's HTTP side: llama.cpp's routes, as far as the gateway asks them."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from lanhaven.engines.connection import Connection, Seen
from lanhaven.engines.mlx.asks import Ask, read_ask
from lanhaven.engines.mlx.bad import BadRequest
from lanhaven.engines.mlx.grammar import Grammars
from lanhaven.engines.mlx.log import Log
from lanhaven.engines.mlx.replies import encode
from lanhaven.engines.mlx.replying import Model, Reply
from lanhaven.engines.mlx.sampling import Choice
from lanhaven.engines.mlx.speech import TOOL

NO_EMBEDDINGS = "this model does not support embeddings: mlx-lm runs no embedding models, llama_cpp does"
Answering = Callable[["Service", Mapping[str, Any]], Mapping[str, Any]]


class Service:
    """A loaded model's answers to requests."""

    def __init__(self, model: Model, defaults: Choice, grammars: Grammars) -> None:
        self.model = model
        self._defaults = defaults
        self._grammars = grammars

    def reply(self, body: Mapping[str, Any], *, chat: bool) -> tuple[Ask, Reply]:
        marks, prompts = self.model.marks, self.model.prompts
        ask = read_ask(
            body,
            chat=chat,
            defaults=self._defaults,
            grammars=self._grammars,
            can_call=marks.tokenizer.has_tool_calling,
        )
        if not chat:
            return ask, Reply(self.model, ask, prompts.of_completion(body.get("prompt")), "")
        text = prompts.of_chat(body, ask.tools)
        tokens = prompts.tokens_of_chat(text)
        state = marks.state_after(tokens)
        if ask.force:  # the answer begins within a call, and if the form of calls is JSON it stays there
            ask = self._bound_to_call(ask)
            tokens = prompts.tokens_of_chat(text + marks.tokenizer.tool_call_start)
            state = TOOL
        return ask, Reply(self.model, ask, [tokens], state)

    def _bound_to_call(self, ask: Ask) -> Ask:
        if ask.bind is not None or self.model.marks.tokenizer.init_kwargs.get("tool_parser_type") != "json_tools":
            return ask
        schema = {"anyOf": [_call_schema(tool) for tool in ask.tools or ()]}
        self._grammars.of_schema(schema)  # what is wrong with it is said at once
        return replace(ask, bind=lambda: self._grammars.of_schema(schema))

    def template(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"prompt": self._text(body)}

    def count(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input_tokens": len(self.model.prompts.tokens_of_chat(self._text(body)))}

    def _text(self, body: Mapping[str, Any]) -> str:
        offered = body.get("tools") if self.model.marks.tokenizer.has_tool_calling else None
        return self.model.prompts.of_chat(body, offered if body.get("tool_choice") != "none" else None)

    def tokenize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        content = body.get("content")
        if not isinstance(content, str):
            raise BadRequest("content must be a text")
        tokens = self.model.prompts.encode(content, special=body.get("add_special") is True)
        if body.get("with_pieces") is True:
            return {"tokens": [{"id": token, "piece": self.model.prompts.token_text(token)} for token in tokens]}
        return {"tokens": tokens}

    def detokenize(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        tokens = body.get("tokens")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise BadRequest("tokens must be a list of whole numbers")
        return {"content": self.model.prompts.decode(tokens)}

    def embed(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise BadRequest(NO_EMBEDDINGS, 501)


_ANSWERS: Mapping[str, Answering] = MappingProxyType(
    {
        "/apply-template": Service.template,
        "/v1/chat/completions/input_tokens": Service.count,
        "/tokenize": Service.tokenize,
        "/detokenize": Service.detokenize,
        "/v1/embeddings": Service.embed,
    }
)
_GENERATES: Mapping[str, bool] = MappingProxyType({"/v1/chat/completions": True, "/v1/completions": False})


class Server:
    """Listens from the beginning on; until `service` is set it says that it is loading."""

    def __init__(self, key: str, log: Log) -> None:
        self.service: Service | None = None
        self._log = log
        self._expected = f"Bearer {key}".encode()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str) -> int:
        """On a unix socket if the address ends in ".sock"; else on a port of that address, which is returned."""
        loop = asyncio.get_running_loop()
        if address.endswith(".sock"):  # that there is none of this name is seen to by the gateway
            self._server = await loop.create_unix_server(self._connection, address)
            return 0
        self._server = await loop.create_server(self._connection, address, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self._serve, lambda connection: None)

    async def _serve(self, connection: Connection, seen: Seen) -> None:
        try:
            await self._answer(connection, seen)
        except BadRequest as error:
            await _send(connection, error.status, error.body())
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: an answer that never comes would hold its client
            self._log.failure(f"{type(error).__name__} in {seen.path}")
            await _send(connection, 500, BadRequest("the engine failed at this request", 500).body())
        if seen.headers.get("connection", "").lower() == "close":
            connection.fin()

    async def _answer(self, connection: Connection, seen: Seen) -> None:
        path = seen.path.partition("?")[0]
        if not hmac.compare_digest(seen.headers.get("authorization", "").encode(), self._expected):
            raise BadRequest("Invalid API Key", 401)
        if self.service is None:
            raise BadRequest("Loading model", 503)
        if path == "/health":
            await _send(connection, 200, {"status": "ok"})
        elif path == "/v1/models":
            data = [{"id": self.service.model.alias, "object": "model", "owned_by": "mlx"}]
            await _send(connection, 200, {"object": "list", "data": data})
        elif path in _ANSWERS:
            await _send(connection, 200, _ANSWERS[path](self.service, _object(seen.raw)))
        elif path in _GENERATES:
            await self._generate(connection, self.service, _object(seen.raw), chat=_GENERATES[path])
        else:
            raise BadRequest(f"There is no {path} here", 404)

    async def _generate(self, connection: Connection, service: Service, body: Mapping[str, Any], *, chat: bool) -> None:
        """If the client leaves, this task is cancelled (see Connection), and with it the computation."""
        ask, reply = service.reply(body, chat=chat)
        try:
            if ask.stream:
                await _stream(connection, reply.frames())
            else:
                await _send(connection, 200, await reply.whole())
        finally:
            reply.close()


def _call_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object"}
    properties = {"name": {"const": function["name"]}, "arguments": parameters}
    return {
        "type": "object",
        "properties": properties,
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    return body


async def _send(connection: Connection, status: int, body: Mapping[str, Any]) -> None:
    data = encode(body)
    head = f"HTTP/1.1 {status} Engine\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    await connection.write(head.encode() + data)


async def _stream(connection: Connection, frames: AsyncIterator[bytes]) -> None:
    await connection.write(
        b"HTTP/1.1 200 Engine\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    async for data in frames:
        await connection.write(b"%x\r\n%b\r\n" % (len(data), data))
    await connection.write(b"0\r\n\r\n")
