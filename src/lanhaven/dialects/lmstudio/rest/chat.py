"""POST /api/v1/chat: a conversation that the server remembers, streamed as named events or answered whole."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import structlog

from lanhaven.dialects.base import Call, DialectContext, respond
from lanhaven.dialects.chunks import chunks
from lanhaven.dialects.lmstudio.models import context_length
from lanhaven.dialects.lmstudio.rest.chat_events import Telling, frame
from lanhaven.dialects.lmstudio.rest.chat_loading import Loading, Voice
from lanhaven.dialects.lmstudio.rest.chat_request import EFFORTS, ChatAsked, read_chat
from lanhaven.dialects.lmstudio.rest.models import named
from lanhaven.dialects.lmstudio.rest.stats import Measure
from lanhaven.errors import GatewayError, InvalidRequest
from lanhaven.inference import Inference
from lanhaven.store import new_id
from lanhaven.types.chat import Route
from lanhaven.types.models import Instance, InstanceState, LoadConfig, ModelInfo
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import encode, read_strict

KIND = "lmstudio.chat"
_THERE = frozenset({InstanceState.READY, InstanceState.LOADING})


class History(msgspec.Struct):
    """What is kept of a conversation: its messages up to an answer, and the system prompt."""

    messages: list[dict[str, Any]]
    system: str | None = None


@dataclass(slots=True)
class Turn:
    """One call: what is asked, on top of what history, and what has been told. voice: of a streamed call."""

    asked: ChatAsked
    history: History
    telling: Telling
    voice: Voice | None

    @property
    def system(self) -> str | None:
        return self.history.system if self.asked.system is None else self.asked.system

    @property
    def new(self) -> list[dict[str, Any]]:
        return [*self.history.messages, {"role": "user", "content": self.asked.user}]

    def body(self, model: str) -> dict[str, Any]:
        """OpenAI's request."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        body = {"model": model, "messages": [*system, *self.new], **self.asked.sampling, "stream": True}
        if self.asked.reasoning in EFFORTS:
            body["reasoning_effort"] = self.asked.reasoning
        return body

    def extras(self) -> dict[str, Any]:
        """Of llama.cpp's fields; templates know one word or the other for thinking."""
        level = self.asked.reasoning
        if level is None:
            return {"return_progress": True}
        effort = {"reasoning_effort": level} if level in EFFORTS else {}
        return {"return_progress": True, "chat_template_kwargs": {"enable_thinking": level != "off", **effort}}


class Chat:
    """The handler."""

    def __init__(self, context: DialectContext) -> None:
        self._gateway = context.gateway
        self._store = context.store

    async def serve(self, call: Call) -> None:
        """One turn of a conversation."""
        asked = read_chat(read_strict(call.body))
        info, instance_id = named(self._gateway, asked.model, call.key_name)
        if asked.has_images and info.blind:
            raise InvalidRequest(f"Model {info.key} cannot see images.", param="input", retry=False)
        history = await self._history(asked.previous, call.key_name)
        telling = Telling(ignored=list(asked.ignored))
        voice = Voice(call.dialect, telling) if asked.stream else None
        turn = Turn(asked, history, telling, voice)
        fitting = self._fitting(info, instance_id, asked.context_length)
        loading = Loading(self._gateway, info.key, instance_id if fitting is not None else None, telling, voice)
        async with AsyncExitStack() as stack:
            if voice is not None:
                call.dialect = voice
                await stack.enter_async_context(voice.speaking(call))
                call.expect_stream()
            await stack.enter_async_context(loading.followed(cold=fitting is None))
            name = fitting if fitting is not None else await self._load(info, asked.context_length)
            await self._infer(turn, name, call)

    async def _infer(self, turn: Turn, name: str, call: Call) -> None:
        wanted = turn.asked.context_length
        request = call.inference(Route.CHAT, turn.body(name))
        request.usage_wanted = True
        request.load = LoadConfig(context_length=wanted) if wanted is not None else None
        request.extras = turn.extras()
        relay = partial(self._relay, turn)
        await respond(call, self._gateway, request, relay, streamed=turn.asked.stream)

    async def _relay(self, turn: Turn, call: Call, inference: Inference, exchange: Exchange) -> None:
        telling = turn.telling
        if turn.asked.reasoning is not None and "chat_template_kwargs" not in exchange.upstream.extras:
            telling.ignored += ["reasoning"] if turn.asked.reasoning not in EFFORTS else []
        begin = telling.answer_begins(inference.instance_id, Measure(self._gateway, inference))
        if turn.voice is None:
            list(begin)
            async for chunk in chunks(exchange):
                list(telling.feed(chunk))
            list(telling.answer_ends())
            await self._keep(turn, call)
            await call.reply(200, encode(telling.result()))
            return
        await turn.voice.settle(call)
        await call.write(b"".join(map(frame, begin)))
        async for chunk in chunks(exchange):
            told = b"".join(map(frame, telling.feed(chunk)))
            if told:
                await call.write(told)
        last = [*telling.answer_ends()]
        await self._keep(turn, call)
        await call.write(b"".join(map(frame, [*last, telling.ends()])))
        await call.finish()

    # ---- Memory

    async def _history(self, previous: str | None, owner: str | None) -> History:
        if previous is None:
            return History([])
        kept = await self._store.get(previous, KIND, owner=owner)
        if kept is None:
            raise InvalidRequest(
                "There is no stored response with this id, or no more.",
                param="previous_response_id",
                hint="send the conversation anew, without previous_response_id",
                retry=False,
                facts={"code": "response_not_found"},
            )
        return msgspec.json.decode(kept, type=History)

    async def _keep(self, turn: Turn, call: Call) -> None:
        """Remember the conversation. Where that fails the answer is given nevertheless, without an id."""
        if not turn.asked.store:
            return
        name = new_id("resp")
        history = History([*turn.new, {"role": "assistant", "content": turn.telling.text}], turn.system)
        try:
            await self._store.put(name, KIND, encode(history), owner=call.key_name)
        except GatewayError as error:
            structlog.get_logger().warning("response_not_kept", request_id=call.request_id, error=error.message)
        else:
            turn.telling.response_id = name

    # ---- Context length

    def _fitting(self, info: ModelInfo, instance_id: str | None, wanted: int | None) -> str | None:
        """The name to ask for: of an instance with the context that is wanted, else of the model if none is loaded.
        None: there are instances, all of them too small."""
        name = instance_id or info.key
        if wanted is None:
            return name
        if info.max_context is not None and wanted > info.max_context:
            told = f"Model {info.key} has a context of at most {info.max_context} tokens."
            raise InvalidRequest(told, param="context_length", retry=False)
        there = [each for each in self._gateway.pool.instances() if each.model_key == info.key and each.state in _THERE]
        if instance_id is not None and instance_id != info.key:
            there = [each for each in there if each.instance_id == instance_id]
        if not there:
            return name
        return next((each.instance_id for each in there if _holds(info, each, wanted)), None)

    async def _load(self, info: ModelInfo, wanted: int | None) -> str:
        """One more instance, as a request loads it: it makes room for itself, and goes when it is idle."""
        config = LoadConfig(context_length=wanted).over(info.load)
        result = await self._gateway.pool.load(
            info, config=config, sampling=info.sampling, automatic=True, pinned=info.pinned
        )
        return result.instance.instance_id


def _holds(info: ModelInfo, instance: Instance, wanted: int) -> bool:
    return context_length(info, instance) >= wanted
