"""models.yaml changes while the server runs (F-172): what follows at once, what waits, and what a wrong file does."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lanhaven.events import CatalogChanged, Failure, ModelActivate, ModelLoadStart, ModelUnloadComplete
from lanhaven.server.startup import preload
from lanhaven.types.models import Instance
from tests.serving import MODELS, House, serving

pytestmark = pytest.mark.anyio

SLOW = "config: {answer: count, tokens: 100, interval_ms: 5}"


def entry(key: str, *more: str) -> str:
    return f"  - {{{', '.join((f'id: {key}', 'provider: mock', *more))}}}\n"


def models(*entries: str, head: str = "") -> str:
    return f"{head}models:\n{''.join(entries)}"


def put(home: Path, text: str) -> None:
    """As editors do: another file in the place of the old one."""
    new = home / "models.yaml.new"
    new.write_text(text)
    new.replace(home / "models.yaml")


async def settle(house: House) -> None:
    """Two looks: the second one finds the file as the first one did."""
    await house.services.reloading.look()
    await house.services.reloading.look()


@asynccontextmanager
async def answering(house: House, model: str) -> AsyncIterator[AsyncIterator[str]]:
    """An answer under way: the lines of its stream, behind the first one."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "count"}]}
    async with house.http.stream("POST", "/v1/chat/completions", json=body) as reply:
        lines = reply.aiter_lines()
        await anext(lines)
        yield lines


def keys(house: House) -> list[str]:
    return [each.key for each in house.services.catalog.models()]


def instance(house: House, name: str) -> Instance:
    found = house.services.pool.get(name)
    assert found is not None
    return found


async def reload(house: House) -> Mapping[str, object]:
    reply = await house.http.post("/admin/models/refresh", json={})
    assert reply.status_code == 200, reply.text
    body: Mapping[str, object] = reply.json()
    return body


async def problems(house: House) -> list[str]:
    found: list[str] = (await house.http.get("/debug/status")).json()["problems"]
    return found


@pytest.mark.req("F-172", "S4-24")
async def test_a_changed_file_is_taken_over_and_the_change_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        put(tmp_path, models(entry("alpha"), entry("beta", "aliases: [second]"), entry("delta")))
        await house.services.reloading.look()
        assert keys(house) == ["alpha", "beta", "gamma"], "not before it has settled"
        await house.services.reloading.look()
        assert keys(house) == ["alpha", "beta", "delta"]
        (event,) = house.named(CatalogChanged)
        assert (event.added, event.removed, event.changed) == (("delta",), ("gamma",), ("alpha", "beta"))
        assert (await house.chat(model="second")).json()["model"] == "beta"
        assert (await house.chat(model="first")).status_code == 404
        await settle(house)
        assert len(house.named(CatalogChanged)) == 1


@pytest.mark.req("F-172", "P23")
async def test_a_wrong_file_keeps_what_was_and_is_told_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        put(tmp_path, "models:\n  - id: alpha\n    provider: mock\n    nonsense: 1\n")
        for _ in range(5):
            await house.services.reloading.look()
        assert keys(house) == ["alpha", "beta", "gamma"]
        (event,) = house.named(Failure)
        assert (event.operation, event.status) == ("reload", 400)
        assert event.error.startswith("models.yaml:4: models[0].nonsense is not known")
        (problem,) = await problems(house)
        assert "models.yaml:4" in problem
        assert (await house.chat(model="beta")).status_code == 200
        put(tmp_path, MODELS)
        await settle(house)
        assert await problems(house) == []
        assert len(house.named(CatalogChanged)) == 1, "the page that showed the problem hears that it is over"


@pytest.mark.req("F-172")
async def test_a_file_that_cannot_be_read_at_all_is_told_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    async with serving(tmp_path) as house:
        for wrong in (b"models: \xff\n", b"# " + b"x" * 2**20):
            path.write_bytes(wrong)
            await settle(house)
            assert len(await problems(house)) == 1
            path.write_text(MODELS)
            await settle(house)
            assert await problems(house) == []
        assert keys(house) == ["alpha", "beta", "gamma"]


@pytest.mark.parametrize("gone", [True, False])
async def test_a_file_that_is_gone_or_empty_is_taken_over_on_order_only(tmp_path: Path, gone: bool) -> None:
    async with serving(tmp_path) as house:
        if gone:
            (tmp_path / "models.yaml").unlink()
        else:
            (tmp_path / "models.yaml").write_text("")
        await settle(house)
        assert keys(house) == ["alpha", "beta", "gamma"]
        (problem,) = await problems(house)
        assert ("is gone" if gone else "is empty") in problem
        assert (await reload(house))["removed"] == ["alpha", "beta", "gamma"]
        assert keys(house) == []
        assert await problems(house) == []


@pytest.mark.req("F-172")
async def test_hundreds_of_changes_end_with_the_last_right_file_and_lose_no_request(tmp_path: Path) -> None:
    rng = random.Random(172)
    path = tmp_path / "models.yaml"
    async with serving(tmp_path) as house:
        replies = []
        for number in range(300):
            text = models(entry("alpha"), *(entry(f"m{number}-{each}") for each in range(rng.randrange(4))))
            match rng.randrange(4):
                case 0:
                    put(tmp_path, text)
                case 1:
                    path.write_text(text)
                case 2:
                    path.write_text(text[: rng.randrange(len(text))])  # half a file
                case _:
                    put(tmp_path, text + "    nonsense: 1\n")
            await house.services.reloading.look()
            if number % 20 == 0:
                replies.append(asyncio.create_task(house.chat(model="alpha")))
        last = models(entry("alpha"), entry("omega"))
        put(tmp_path, last)
        put(tmp_path, last + "wrong: 1\n")
        await settle(house)
        assert any("wrong is not known" in each for each in await problems(house))
        put(tmp_path, last)
        await settle(house)
        assert keys(house) == ["alpha", "omega"]
        assert await problems(house) == []
        assert [(await each).status_code for each in replies] == [200] * len(replies)


@pytest.mark.req("F-172")
async def test_what_is_written_in_place_and_looks_alike_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    async with serving(tmp_path, models(entry("one"))) as house:
        before = path.stat()
        path.write_text(models(entry("two")))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        await settle(house)
        assert keys(house) == ["two"]


async def test_an_instance_of_a_model_that_was_removed_ends_when_nobody_uses_it(tmp_path: Path) -> None:
    async with serving(tmp_path, models(entry("alpha", SLOW), entry("beta"))) as house:
        async with answering(house, "alpha") as lines:
            put(tmp_path, models(entry("beta")))
            await settle(house)
            await house.services.pool.sweep()
            assert instance(house, "alpha").leases == 1
            assert (await house.chat(model="alpha")).status_code == 404
            assert [line async for line in lines if line][-1] == "data: [DONE]"
        await house.services.pool.sweep()
        await house.until(lambda: house.services.pool.get("alpha") is None)
        assert [each.reason for each in house.named(ModelUnloadComplete)] == ["removed"]


async def test_a_model_that_comes_back_in_time_stays(tmp_path: Path) -> None:
    async with serving(tmp_path, models(entry("alpha", SLOW, "pinned: true"), entry("beta"))) as house:
        async with answering(house, "alpha") as lines:
            put(tmp_path, models(entry("beta")))
            await settle(house)
            put(tmp_path, models(entry("alpha", SLOW), entry("beta")))
            await settle(house)
            assert [line async for line in lines if line][-1] == "data: [DONE]"
        await house.services.pool.sweep()
        assert not instance(house, "alpha").pinned
        assert not instance(house, "alpha").outdated


async def test_defaults_ttl_and_pin_follow_and_what_an_operator_set_stays(tmp_path: Path) -> None:
    first = "defaults: {temperature: 0.1, topP: 0.5}, ttl: 100"
    async with serving(tmp_path, models(entry("alpha", first), entry("beta", first))) as house:
        await house.chat(model="alpha")
        own = {"modelKey": "beta", "defaultInference": {"temperature": 0.9}, "ttlSeconds": 7}
        await house.http.post("/admin/models/load", json=own)
        second = "defaults: {temperature: 0.2, minP: 0.3}, ttl: 200, pinned: true"
        put(tmp_path, models(entry("alpha", second), entry("beta", second)))
        await settle(house)
        alpha, beta = instance(house, "alpha"), instance(house, "beta")
        assert alpha.sampling.said() == {"temperature": 0.2, "min_p": 0.3}
        assert beta.sampling.said() == {"temperature": 0.9, "min_p": 0.3}
        assert (alpha.pinned, beta.pinned) == (True, True)
        put(tmp_path, models(entry("alpha", second.replace("true", "false")), entry("beta", "ttl: 300")))
        await settle(house)
        assert instance(house, "alpha").expires_at == pytest.approx(instance(house, "alpha").last_used + 200)
        assert instance(house, "beta").expires_at == pytest.approx(instance(house, "beta").last_used + 7)
        await house.chat(model="alpha")
        assert house.mock.server("alpha").requests[-1].body["temperature"] == 0.2


async def test_an_instance_that_would_be_loaded_otherwise_runs_on_and_says_so(tmp_path: Path) -> None:
    weighty = "config: {size_bytes: 1000}"
    first = entry("alpha", "load: {contextLength: 512}", weighty)
    async with serving(tmp_path, models(first, entry("beta"))) as house:
        await house.chat(model="alpha")
        await house.chat(model="beta")
        loads = len(house.named(ModelLoadStart))
        second = entry("alpha", "load: {contextLength: 1024}", weighty)
        put(tmp_path, models(second, entry("beta", "description: words")))
        await settle(house)
        await house.services.pool.sweep()
        assert (await house.chat(model="alpha")).status_code == 200
        listed = {each["path"]: each for each in (await house.http.get("/admin/models")).json()["loaded"]}
        assert {key: each["reloadNeeded"] for key, each in listed.items()} == {"alpha": True, "beta": False}
        assert listed["alpha"]["contextLength"] == 512
        assert len(house.named(ModelLoadStart)) == loads
        await house.http.post("/admin/models/unload", json={"modelKey": "alpha"})
        await house.chat(model="alpha")
        assert instance(house, "alpha").load_config.context_length == 1024
        assert not instance(house, "alpha").outdated


async def test_a_model_that_takes_nothing_of_this_machine_is_had_anew_once_it_is_idle(tmp_path: Path) -> None:
    async with serving(tmp_path, models(entry("alpha", SLOW), entry("beta", SLOW))) as house:
        await house.http.post("/admin/models/load", json={"modelKey": "beta"})
        async with answering(house, "alpha") as lines:
            put(tmp_path, models(entry("alpha"), entry("beta")))
            await settle(house)
            await house.services.pool.sweep()
            assert instance(house, "alpha").leases == 1
            assert [line async for line in lines if line][-1] == "data: [DONE]"
        await house.services.pool.sweep()
        await house.until(lambda: house.services.pool.get("alpha") is None)
        assert [each.reason for each in house.named(ModelUnloadComplete)] == ["changed"]
        assert instance(house, "beta").outdated, "an operator's own stays"
        assert "hello" in (await house.chat("hello", model="alpha")).text


async def test_the_limit_of_automatic_instances_follows(tmp_path: Path) -> None:
    three = (entry("a"), entry("b"), entry("c"))
    async with serving(tmp_path, models(*three, head="max_loaded_models: 3\n")) as house:
        for key in "abc":
            await house.chat(model=key)
        put(tmp_path, models(*three, head="max_loaded_models: 1\n"))
        await settle(house)
        await house.services.pool.sweep()
        await house.until(lambda: [*house.services.pool.ids()] == ["c"])
        put(tmp_path, models(*three, head="max_loaded_models: 2\n"))
        await settle(house)
        await house.chat(model="a")
        assert {*house.services.pool.ids()} == {"a", "c"}


async def test_another_default_model_takes_the_place_of_the_active_one(tmp_path: Path) -> None:
    both = (entry("alpha"), entry("beta"))
    async with serving(tmp_path, models(*both, head="default_model: alpha\n")) as house:
        await preload(house.services)
        assert (await house.chat()).json()["model"] == "alpha"
        put(tmp_path, models(*both, head="default_model: beta\n"))
        await settle(house)
        assert house.named(ModelActivate)[-1].model_key == "beta"
        assert (await house.chat()).json()["model"] == "beta"
        await house.http.post("/admin/models/load", json={"modelKey": "alpha"})
        put(tmp_path, models(*both, entry("gamma"), head="default_model: gamma\n"))
        await settle(house)
        assert (await house.chat()).json()["model"] == "alpha", "somebody has activated another one"


async def test_what_is_to_be_in_memory_from_now_on_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, models(entry("a", "preload: true"), entry("b"), entry("c"))) as house:
        told: list[tuple[str, ...]] = []
        house.services.reloading.listen(lambda found: told.append(found.to_load()))
        put(
            tmp_path,
            models(entry("a", "preload: true", "ttl: 5"), entry("b", "pinned: true"), entry("c", "preload: true")),
        )
        await settle(house)
        assert told == [("b", "c")]
        assert await preload(house.services, among=told[0]) == []
        assert {*house.services.pool.ids()} == {"b", "c"}


async def test_what_the_server_wrote_itself_is_not_taken_over_twice(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        taken: list[object] = []
        house.services.reloading.listen(taken.append)
        put(tmp_path, models(entry("alpha")))
        await house.services.reloading.reload()
        await settle(house)
        assert len(taken) == 1


async def test_an_order_whose_client_leaves_is_carried_out_all_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        put(tmp_path, models(entry("omega")))
        order = asyncio.create_task(house.services.reloading.reload())
        await asyncio.sleep(0)
        order.cancel()
        await house.until(lambda: keys(house) == ["omega"])
        put(tmp_path, "wrong: 1\n")
        order = asyncio.create_task(house.services.reloading.reload())
        await asyncio.sleep(0)
        order.cancel()
        await house.until(lambda: house.services.reloading.problem is not None)


@pytest.mark.req("F-073")
async def test_a_thousand_models_change_and_requests_go_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as house:
        put(tmp_path, models(entry("alpha"), *(entry(f"m{number}") for number in range(1000))))
        taking = asyncio.create_task(house.services.reloading.reload())
        while not taking.done():
            assert (await house.chat(model="alpha")).status_code == 200
        await taking
        assert len(keys(house)) == 1001
