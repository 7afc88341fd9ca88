"""Keys, history, entries of models.yaml and many prompts in one call, with both clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven import (
    AsyncClient,
    BatchChatRequest,
    ChatCompletionRequest,
    ChatMessage,
    Client,
    FeatureUnavailable,
    KeyLimits,
)
from lanhaven.errors import GatewayError, ModelNotFound, NotFound, UpstreamError
from tests.client.both import client
from tests.client.plain import Answer, plain_server
from tests.serving import serving

pytestmark = pytest.mark.anyio
Kind = type[Client] | type[AsyncClient]
HELLO = ChatCompletionRequest("alpha", [ChatMessage("user", "Hello there")])


async def test_keys_are_made_changed_and_taken_away(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house:
        async with client(kind, house.url) as sdk:
            first = await sdk.run(sdk.plain.keys.add, "owner", scopes=["admin", "inference"])
            assert first.key not in repr(first)
        async with client(kind, house.url, api_key=first.key) as sdk:
            keys = sdk.plain.keys
            limits = KeyLimits(requests_per_day=100, tokens_per_minute=5)
            made = await sdk.run(keys.add, "pi", models=["alp*"], networks=["10.0.0.0/8"], limits=limits)
            assert (made.name, made.scopes, made.models, made.limits) == ("pi", ("inference",), ("alp*",), limits)
            assert made.key.startswith(made.prefix)
            changed = await sdk.run(keys.change, "pi", {"models": None, "limits": {"tokens_per_minute": None}})
            assert (changed.models, changed.limits) == (None, KeyLimits(requests_per_day=100))
            rotated = await sdk.run(keys.rotate, "pi", grace_seconds=60)
            assert rotated.key != made.key
            assert rotated.old_key_until is not None
            assert {each.name for each in await sdk.run(keys.list)} == {"owner", "pi"}
            await sdk.run(keys.revoke, "pi")
            with pytest.raises(NotFound):
                await sdk.run(keys.revoke, "pi")
            with pytest.raises(NotFound):
                await sdk.run(keys.change, "no/such key", {})
            with pytest.raises(GatewayError, match="good for admin"):
                await sdk.run(keys.revoke, "owner", force=True)
            await sdk.run(keys.add, "next", scopes=["admin"])
            await sdk.run(keys.revoke, "owner", force=True)


async def test_what_was_asked_is_told(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path, history=True) as house, client(kind, house.url) as sdk:
        history = sdk.plain.history
        assert (await sdk.run(history.keep_bodies, minutes=1)).enabled
        await sdk.do("create_chat_completion", HELLO)
        await sdk.do("create_chat_completion", HELLO)
        page = await sdk.run(history.requests, limit=1, model="alpha", status="completed")
        (last,) = page
        assert (last.model, last.status, last.prompt_tokens is not None) == ("alpha", "completed", True)
        (before,) = await sdk.run(history.requests, before=page.next, q="ALPHA")
        assert before.request_id != last.request_id
        details = await sdk.run(history.request, last.request_id)
        assert {each.name for each in details.phases} <= {"queue", "load", "prompt", "generate"}
        assert (details.parameters["messages"], details.body) == (1, "kept")
        assert "Hello there" in (await sdk.run(history.body, last.request_id)).request
        (row,) = await sdk.run(history.usage, days=1, by="model")
        assert (row.model, row.key, row.requests, row.errors) == ("alpha", None, 2, 0)
        series = await sdk.run(history.series, "1h")
        assert len(series.times) == len(series.requests) == len(series.memory_bytes) == 60
        assert sum(series.requests) == 2
        assert None in series.tokens_per_second
        assert not (await sdk.run(history.keep_bodies, enabled=False)).enabled
        with pytest.raises(NotFound, match="was not kept"):
            await sdk.run(history.body, last.request_id)


async def test_entries_of_the_models_file_are_changed(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url) as sdk:
        added = await sdk.do("add_model", "far", f"{house.url}/v1", name_there="alpha", kind="llm", context_length=512)
        assert (added.status, added.added, added.file) == ("added", ("far",), str(tmp_path / "models.yaml"))
        edited = await sdk.do("edit_model", "far", {"description": "elsewhere", "tags": ["far"]}, default=True)
        assert (edited.status, edited.changed) == ("changed", ("far",))
        text = (tmp_path / "models.yaml").read_text()
        assert "elsewhere" in text
        assert "default_model: far" in text
        await sdk.do("edit_model", "far", default=False)
        assert (await sdk.do("remove_model", "far")).removed == ("far",)
        with pytest.raises(ModelNotFound):
            await sdk.do("remove_model", "far")


async def test_many_prompts_in_one_call(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as house, client(kind, house.url, default_model="alpha") as sdk:
        asked = [ChatMessage("user", "one"), ChatMessage("user", "two")]
        batch = await sdk.do("batch_chat_completions", BatchChatRequest(messages=asked, include_timing=True))
        assert [each.text for each in batch] == ["one", "two"]
        assert (batch.batch_info.successful, batch.model, len(batch)) == (2, "alpha", 2)
        assert batch.timing is not None
        each_own = BatchChatRequest(
            requests=[
                HELLO,
                {"custom_id": "wrong", "model": "no-such", "messages": [{"role": "user", "content": "?"}]},
            ],
            processing_mode="sequential",
        )
        good, bad = await sdk.do("batch_chat_completions", each_own, timeout=20)
        assert (good.text, bad.custom_id, bad.status, bad.text) == ("Hello there", "wrong", 404, "")
        assert "no-such" in bad.error.message
        joined = await sdk.do("batch_chat_completions", {"messages": [{"role": "user", "content": "x"}] * 2,
                                                         "return_individual": False})  # fmt: skip
        assert len(joined.choices) == 1


async def test_a_server_without_all_that_says_so(kind: Kind) -> None:
    missing = Answer({"error": "Unexpected endpoint or method. (GET /x)"})
    paths = ("/admin/keys", "/debug/history/usage", "/admin/models/remove", "/v1/batch/chat/completions")
    async with plain_server({path: [missing] for path in paths}) as server, client(kind, server.url) as sdk:
        for action in (sdk.plain.keys.list, sdk.plain.history.usage):
            with pytest.raises(FeatureUnavailable):
                await sdk.run(action)
        with pytest.raises(FeatureUnavailable):
            await sdk.do("remove_model", "x")
        with pytest.raises(FeatureUnavailable):
            await sdk.do("batch_chat_completions", BatchChatRequest(messages=[ChatMessage("user", "x")]))


async def test_a_list_that_is_none_is_an_error(kind: Kind) -> None:
    async with plain_server({"/admin/keys": [Answer({"keys": None})]}) as server, client(kind, server.url) as sdk:
        with pytest.raises(UpstreamError, match="no `keys`"):
            await sdk.run(sdk.plain.keys.list)
