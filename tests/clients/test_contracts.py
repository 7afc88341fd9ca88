"""Requests as real programs send them, over a real socket; the replies read as strictly as those programs read them.

What the programs are, and how they are set up, stands in docs/clients.md.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from openai import AsyncOpenAI

from lanhaven.events import InferenceComplete
from tests.clients import reading
from tests.clients.reading import Reader, Understood
from tests.clients.recorded import programs, recorded
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true, config: {context_length: 100000, slots: 4}}
  - {id: small, provider: mock, enabled: true, config: {context_length: 300}}
  - {id: vectors, provider: mock, enabled: true, config: {kind: embedding}}
"""

READERS: Mapping[str, Mapping[str, Reader]] = MappingProxyType(
    {
        "claude-code": {
            "probe": reading.root,
            "models": reading.cards,
            "title": reading.message_stream,
            "first": reading.message_stream,
            "after a tool": reading.message_stream,
        },
        "codex": {
            "first": reading.codex,
            "after a tool": reading.codex,
            "lmstudio models": reading.model_list,
            "lmstudio load": reading.loaded,
            "lmstudio first": reading.codex,
            "ollama version": reading.version,
            "ollama tags": reading.tags,
            "ollama pull": reading.pulled,
        },
        "opencode": dict.fromkeys(("title", "first", "after a tool"), reading.chat_stream),
        "open-webui": {
            "verify": reading.version,
            "tags": reading.tags,
            "ps": reading.ps,
            "chat": reading.chat_lines,
            "title": reading.chat_whole,
            "openai models": reading.model_list,
            "openai chat": reading.chat_stream,
            "embed": reading.embeddings,
        },
        "vscode": {
            "version": reading.version,
            "tags": reading.tags,
            "show": reading.show,
            "chat": reading.chat_stream,
            "agent": reading.chat_stream,
        },
        "zed": {
            "lmstudio models": reading.v0_models,
            "lmstudio chat": reading.chat_stream_without_usage,
            "lmstudio agent": reading.chat_stream_without_usage,
            "ollama tags": reading.tags,
            "ollama show": reading.show,
            "ollama chat": reading.chat_lines,
            "ollama agent": reading.chat_lines,
        },
        "home-assistant": {
            "tags": reading.tags,
            "ps": reading.ps,
            "pull": reading.pulled,
            "command": reading.chat_lines,
            "after the tool": reading.chat_lines,
            "data": reading.chat_lines,
        },
        "n8n": {
            "credential test": reading.root,
            "tags": reading.tags,
            "chat": reading.chat_lines,
            "agent": reading.chat_lines,
        },
        "continue": {
            "show": reading.show,
            "chat": reading.chat_lines,
            "agent": reading.chat_whole,
            "autocomplete": reading.generate_lines,
            "lmstudio chat": reading.chat_stream_without_usage,
        },
        "jetbrains": {
            "ollama root": reading.root,
            "ollama tags": reading.tags,
            "ollama show": reading.show,
            "ollama chat": reading.chat_lines,
            "lmstudio models": reading.model_list,
            "lmstudio v0 models": reading.v0_models,
            "lmstudio chat": reading.chat_stream_without_usage,
        },
        "cline": {
            "lmstudio models": reading.model_list,
            "lmstudio v0 models": reading.v0_models,
            "lmstudio chat": reading.chat_stream,
            "ollama tags": reading.tags,
            "ollama chat": reading.chat_lines,
        },
        "aider": {
            "show": reading.show,
            "ollama chat": reading.chat_lines,
            "ollama generate": reading.generate_lines,
            "openai chat": reading.chat_stream_without_usage,
        },
        "llamaindex": dict.fromkeys(("chat", "null format", "agent"), reading.chat_whole),
    }
)
# The scripted model calls the tool that is named in the last message of the user.
CALLS = MappingProxyType({"first": "TaskList", "agent": "get_weather", "command": "HassTurnOn"})


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with serving(tmp_path_factory.mktemp("house"), MODELS) as house:
        yield house


def test_every_request_that_was_recorded_is_read() -> None:
    assert {program: set(recorded(program)) for program in programs()} == {
        program: set(readers) for program, readers in READERS.items()
    }


@pytest.mark.req("S4-29")
@pytest.mark.parametrize(
    ("program", "name"), [(program, name) for program, readers in READERS.items() for name in readers]
)
async def test_the_program_understands(house: House, program: str, name: str) -> None:
    request = recorded(program)[name]
    understood: Understood = READERS[program][name](await request.send(house.http))
    called = next((tool for kind, tool in CALLS.items() if name.endswith(kind)), None)
    if called is not None and called in str(request.body):
        assert [name for name, _ in understood.calls] == [called]
    elif request.body is not None and "messages" in request.body:
        assert understood.calls == []
        assert understood.text
    if name.endswith(("tags", "models")):
        assert "alpha" in understood.text


@pytest.mark.req("S4-31")
async def test_openais_library_with_any_key(house: House) -> None:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="not-needed", max_retries=0) as client:
        assert "alpha" in [each.id async for each in client.models.list()]
        reply = await client.chat.completions.create(model="alpha", messages=[{"role": "user", "content": "hello"}])
        assert reply.choices[0].message.content


# ---- Claude Code


async def test_claude_codes_first_prompt_arrives_whole(house: House) -> None:
    """All tools and rules, and nothing that says who pays; its list of skills in the user's turn."""
    request = recorded("claude-code")["first"]
    assert request.body is not None
    await request.send(house.http)
    sent = house.sent
    assert [each["function"]["name"] for each in sent["tools"]] == [each["name"] for each in request.body["tools"]]
    assert [each["function"]["parameters"] for each in sent["tools"]] == [
        each["input_schema"] for each in request.body["tools"]
    ]
    assert len(json.dumps(sent)) > 76_000
    billing, *rules = (each["text"] for each in request.body["system"])
    system, user = sent["messages"]
    assert billing.startswith("x-anthropic-billing-header")
    assert (system["role"], system["content"]) == ("system", "\n\n".join(rules))
    assert user["role"] == "user"
    assert request.body["messages"][1]["content"] in user["content"]
    assert house.sent.keys().isdisjoint({"metadata", "context_management", "output_config", "thinking"})


async def test_claude_code_is_told_that_the_prompt_is_too_long(house: House) -> None:
    """In the words that it looks for: it compacts its history then, and shows both numbers."""
    reply = await recorded("claude-code")["first"].of("small").send(house.http)
    assert reply.status_code == 400
    error = reply.json()
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    found = re.match(r"prompt is too long: (\d+) tokens > (\d+) maximum", error["error"]["message"])
    assert found
    assert int(found[1]) > int(found[2]) == 300
    assert reply.headers["request-id"] == error["request_id"]
    assert reply.headers["x-should-retry"] == "false"


async def test_claude_code_is_told_that_there_is_no_such_model(house: House) -> None:
    reply = await recorded("claude-code")["first"].of("claude-opus-5").send(house.http)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


async def test_the_names_that_claude_code_finds_can_be_asked(house: House) -> None:
    found = reading.cards(await recorded("claude-code")["models"].send(house.http)).text.split()
    assert found == ["claude-local-alpha", "claude-local-small"]
    reading.message_stream(await recorded("claude-code")["title"].of(found[0]).send(house.http))


# ---- the others, where a prompt does not fit


async def test_codex_is_told_that_the_prompt_is_too_long(house: House) -> None:
    """By the code, which makes it say "Codex ran out of room in the model's context window"."""
    reply = await recorded("codex")["first"].of("small").send(house.http)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(("program", "name"), [("opencode", "first"), ("cline", "ollama chat"), ("vscode", "chat")])
async def test_others_are_shown_both_numbers(house: House, program: str, name: str) -> None:
    reply = await recorded(program)[name].of("small").send(house.http)
    assert reply.status_code == 400
    assert re.search(r"\d{3,} tokens", reply.text)
    assert "300" in reply.text


# ---- Home Assistant asks every 30 s, and waits 5 s for an answer


async def test_lists_answer_while_a_model_loads(house: House) -> None:
    with house.mock.held("small"):
        loading = asyncio.create_task(house.chat(model="small"))
        await house.until(lambda: "small" in house.services.pool.ids())
        for name in ("tags", "ps"):
            request = recorded("home-assistant")[name]
            assert READERS["home-assistant"][name](await request.send(house.http)).text
    assert (await loading).status_code == 200


async def test_home_assistant_is_asked_for_its_key_and_nothing_else(tmp_path: Path) -> None:
    """401 begins a new sign-in there; any other 4xx would end the integration."""
    async with serving(tmp_path, MODELS, key="sk-test-0123456789abcdef0123456789abcdef") as keyed:
        keyed.http.headers.pop("X-API-Key")
        for request in recorded("home-assistant").values():
            reply = await request.send(keyed.http)
            assert reply.status_code == 401
            assert isinstance(reply.json()["error"], str)


# ---- conversations stay with the instance that has their prompt


@pytest.mark.parametrize("program", ["claude-code", "codex", "opencode"])
async def test_a_conversation_stays_with_its_instance(tmp_path: Path, program: str) -> None:
    """X-Claude-Code-Session-Id, Session-Id, X-Session-Affinity. What names no conversation goes to whoever rested most."""
    async with serving(tmp_path, MODELS) as house:
        for name in ("one", "two"):
            order = {"modelKey": "alpha", "instanceId": name, "activate": False}
            assert (await house.http.post("/admin/models/load", json=order)).status_code == 200
        for _ in range(3):
            await recorded(program)["after a tool"].send(house.http)
            for _ in range(2):
                await house.chat("something else", model="alpha")
        served = [each.instance_id for each in house.named(InferenceComplete)]
        assert served[::3] == ["one"] * 3
        assert served[1:3] == ["two", "one"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"prompt_cache_key": "k"}),
        ("/v1/chat/completions", {"user": "ann"}),
        ("/v1/responses", {"prompt_cache_key": "k"}),
        ("/v1/responses/input_tokens", {"prompt_cache_key": "k"}),
        ("/v1/messages", {"max_tokens": 9, "metadata": {"user_id": "ann"}}),
        ("/v1/messages/count_tokens", {"metadata": {"user_id": "ann"}}),
    ],
)
async def test_a_conversation_is_known_by_its_body_too(tmp_path: Path, path: str, fields: dict[str, Any]) -> None:
    async with serving(tmp_path, MODELS) as house:
        for name in ("one", "two"):
            order = {"modelKey": "alpha", "instanceId": name, "activate": False}
            assert (await house.http.post("/admin/models/load", json=order)).status_code == 200
        said = {"input": "hi"} if "responses" in path else {"messages": [{"role": "user", "content": "hi"}]}
        for _ in range(4):
            assert (await house.http.post(path, json={"model": "alpha", **said, **fields})).status_code == 200
        assert {each.instance_id for each in house.named(InferenceComplete)} == {"one"}
