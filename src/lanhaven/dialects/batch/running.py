"""Answering the prompts of one batch call: in order, or at once as far as the instances have slots.

No more than an instance has slots are sent to it: what others ask meanwhile waits for one prompt, not for the batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lanhaven.dialects.base import Call, user_agent
from lanhaven.dialects.batch.asking import Answer, Asked, Asker
from lanhaven.dialects.batch.prompts import Mode, Plan, Prompt
from lanhaven.errors import GatewayError, ServerShutdown
from lanhaven.gateway import Gateway
from lanhaven.types.models import InstanceState
from lanhaven.wire import read_object

CHAT = "/v1/chat/completions"
UNKNOWN = 4  # at once, while nobody knows how many slots there are
UNBOUNDED = 16  # at once, to a server that bounds itself


@dataclass(frozen=True, slots=True)
class Result:
    """started, seconds: since the batch began, and what this prompt took."""

    prompt: Prompt
    answer: Answer
    body: dict[str, Any]
    started: float
    seconds: float


Told = Callable[[Result], Awaitable[None]]


class Running:
    """One batch call; each prompt gets an id of its own from its id."""

    def __init__(self, plan: Plan, asker: Asker, gateway: Gateway, call: Call) -> None:
        self._plan = plan
        self._asker = asker
        self._gateway = gateway
        self._call = call
        self._began = gateway.clock()
        self._end: Answer | None = None  # the server goes down: nothing more is asked
        self._context: list[Any] = []

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._gateway.clock() - self._began

    async def run(self, told: Told) -> None:
        """Answer all; `told` hears of each as it is there, one after the other."""
        turn = asyncio.Lock()

        async def one(prompt: Prompt) -> None:
            result = await self._answer(prompt)
            async with turn:
                await told(result)

        if self._plan.mode is Mode.PARALLEL:
            lanes: dict[str | None, deque[Prompt]] = {}
            for prompt in self._plan.prompts:
                lanes.setdefault(prompt.model, deque()).append(prompt)
            async with asyncio.TaskGroup() as group:
                for name, waiting in lanes.items():
                    group.create_task(self._lane(name, waiting, one))
        else:
            for prompt in self._plan.prompts:
                await one(prompt)

    async def _lane(self, model: str | None, waiting: deque[Prompt], one: Callable[[Prompt], Awaitable[None]]) -> None:
        """The prompts for one model. Slots are counted each time: the first may have to load the model."""
        async with asyncio.TaskGroup() as group:
            running: set[asyncio.Task[None]] = set()
            while waiting:
                while waiting and len(running) < min(self._plan.at_once, slots_of(self._gateway, model)):
                    running.add(group.create_task(_awaited(one(waiting.popleft()))))
                _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _answer(self, prompt: Prompt) -> Result:
        started = self.seconds
        body = prompt.body
        with_context = self._plan.mode is Mode.SEQUENTIAL_WITH_CONTEXT
        if with_context:
            body = {**body, "messages": [*self._context, *body["messages"]]}
        call = self._call
        request_id, agent = f"{call.request_id}-{prompt.index + 1}", user_agent(call.headers)
        asked = Asked(CHAT, body, request_id, call.path, call.key_name, call.address, agent)
        answer = self._end or await self._asker.ask(asked)
        if answer.code == ServerShutdown.code:
            self._end = answer
        read = read_object(answer.body)
        if with_context and answer.ok:  # a question that failed is not part of the conversation
            self._context = [*body["messages"], {"role": "assistant", "content": text_of(read)}]
        return Result(prompt, answer, read, started, self.seconds - started)


async def _awaited(work: Awaitable[None]) -> None:
    await work


def text_of(completion: dict[str, Any]) -> str:
    """What the first choice says."""
    try:
        return completion["choices"][0]["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        return ""


def slots_of(gateway: Gateway, model: str | None) -> int:
    """How many requests the instances of this model compute at once."""
    try:
        target = gateway.catalog.resolve(model, gateway.pool.ids())
    except GatewayError:
        return UNKNOWN  # each prompt will say why
    mine = [
        each
        for each in gateway.pool.instances()
        if each.model_key == target.info.key and each.state is InstanceState.READY
    ]
    named = [each for each in mine if each.instance_id == target.instance_id] or mine
    if not named:
        return UNKNOWN
    return max(1, sum(UNBOUNDED if each.slots is None else each.slots for each in named))
