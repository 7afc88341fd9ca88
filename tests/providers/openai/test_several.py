"""Several servers that have one model: who gets a request, and what becomes of it when a server fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lanhaven.engines.scripted import Fault
from lanhaven.engines.scripted_faults import Act
from lanhaven.events import Failure, ModelUnloadComplete
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import InstanceState
from tests.providers.openai.several import KEY, fault, several

pytestmark = pytest.mark.anyio


async def test_each_host_has_an_instance_from_the_start(tmp_path: Path) -> None:
    async with several(tmp_path) as world:
        assert list(world.instances()) == ["one/big", "two/big", "three/big"]
        listed = (await world.house.http.get("/v1/models")).json()["data"]
        assert {each["id"] for each in listed} >= {"big", "one/big", "two/big", "three/big"}
        assert (await world.ask()).status_code == 200
        assert len(world.instances()) == 3, "nothing was loaded"


async def test_names_and_keys_are_each_hosts_own(tmp_path: Path) -> None:
    async with several(tmp_path) as world:
        for name, host in world.hosts.items():
            reply = await world.house.chat("hi", model=f"{name}/big")
            assert (reply.status_code, reply.json()["model"]) == (200, f"there-{name}")
            assert host.requests[-1].headers["authorization"] == f"Bearer {KEY}-{name}"
        assert world.counts() == [1, 1, 1]


async def test_least_in_flight(tmp_path: Path) -> None:
    async with several(tmp_path) as world:
        for host in world.hosts.values():
            host.script(fault(do=Act.STALL, at=-1))
        running = [asyncio.create_task(world.ask(str(number))) for number in range(3)]
        await world.house.until(lambda: sum(world.counts()) == 3)
        assert world.counts() == [1, 1, 1]
        for host in world.hosts.values():
            host.crash()
        await asyncio.gather(*running)


async def test_a_conversation_stays_with_its_host(tmp_path: Path) -> None:
    async with several(tmp_path) as world:
        for number in range(6):
            await world.ask(f"turn {number}", user="anna")
        assert sorted(world.counts()) == [0, 0, 6]
        home = next(name for name, host in world.hosts.items() if host.generations)
        world.hosts[home].crash()
        await world.house.until(lambda: not world.house.services.client.idle)  # what it died with is not in doubt
        for number in range(4):
            assert (await world.ask(f"turn {number}", user="anna")).status_code == 200
        assert sorted(world.counts()) == [0, 4, 6], "it has a new home, and stays there"


async def test_a_host_that_is_down_is_passed_over(tmp_path: Path) -> None:
    async with several(tmp_path) as world:
        world.hosts["one"].crash()
        world.hosts["two"].crash()
        for number in range(4):
            reply = await world.ask(str(number), stream=number % 2 == 0)
            assert reply.status_code == 200
        assert world.counts() == [0, 0, 4]
        shown = (await world.house.http.get("/metrics")).text
        assert 'lanhaven_instance_ready{instance="one/big",model="big"} 0.0' in shown
        assert 'lanhaven_instance_ready{instance="three/big",model="big"} 1.0' in shown
        assert 'lanhaven_instance_requests{instance="three/big",model="big"} 0.0' in shown
        away = world.instances()["one/big"]
        assert away.state is InstanceState.FAILED
        assert "is not running" in (away.error or "")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_host_that_declines_is_left_alone_for_as_long_as_it_says(tmp_path: Path, status: int) -> None:
    async with several(tmp_path, "one", "two") as world:
        for host in world.hosts.values():
            host.script(fault(status=status, headers={"retry-after": "20"}))
        first = await world.ask()
        assert first.status_code == status, "both declined: the last one's own words"
        assert first.headers["retry-after"] == "20"
        second = await world.ask()
        assert second.status_code == 503
        assert "no server that takes requests now" in second.json()["error"]["message"]
        assert 1 <= int(second.headers["retry-after"]) <= 20
        assert world.asked() == [1, 1], "neither was asked again"


@pytest.mark.parametrize(
    "declined",
    [
        fault(status=429),
        fault(status=503),
        fault(status=404, body='{"error": {"message": "The model `there-one` does not exist."}}'),
    ],
)
async def test_what_one_host_declines_another_answers(tmp_path: Path, declined: Fault) -> None:
    async with several(tmp_path, "one", "two") as world:
        world.hosts["one"].script(declined)
        replies = [await world.ask(str(number)) for number in range(2)]
        assert [each.status_code for each in replies] == [200, 200]
        assert world.asked() == [1, 2]
        told = [each.operation for each in world.house.named(Failure)]
        assert told == (["engine"] if declined.status == 404 else []), "one that has much to do has not failed"


@pytest.mark.parametrize("what", [fault(status=500), fault(status=502), fault(do=Act.RST, at=-1)])
@pytest.mark.req("F-021")
async def test_what_a_host_may_have_taken_up_is_not_sent_twice(tmp_path: Path, what: Fault) -> None:
    async with several(tmp_path, "one", "two") as world:
        for host in world.hosts.values():
            host.script(what)
        assert (await world.ask()).status_code == 502
        assert sum(world.asked()) == 1


async def test_after_a_byte_there_is_no_other_host(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        for host in world.hosts.values():
            host.script(fault(do=Act.RST, at=2))
        reply = await world.ask("one two three four", stream=True)
        assert reply.status_code == 200
        assert '"error"' in reply.text
        assert "[DONE]" not in reply.text
        assert sorted(world.asked()) == [0, 1]


@pytest.mark.req("P13")
async def test_one_that_keeps_failing_rests_while_another_serves(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        world.hosts["one"].script(*[fault(status=500)] * 10)
        statuses = [(await world.ask(str(number))).status_code for number in range(12)]
        assert statuses.count(502) == 3
        assert world.asked()[0] == 3
        assert world.instances()["one/big"].state is InstanceState.FAILED


async def test_the_last_one_never_rests_for_failures(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        for host in world.hosts.values():
            host.script(*[fault(status=500)] * 5)
        statuses = [(await world.ask(str(number))).status_code for number in range(5)]
        assert statuses == [502] * 5, "no 503 of ours"


@pytest.mark.req("P13")
async def test_a_look_takes_a_host_out_and_back(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        world.hosts["one"].crash()
        await world.sweep(lambda: world.instances()["one/big"].state is InstanceState.FAILED)
        for number in range(3):
            assert (await world.ask(str(number))).status_code == 200
        assert world.counts() == [0, 3]
        await world.revive("one")
        await world.sweep(lambda: world.instances()["one/big"].state is InstanceState.READY)
        for number in range(2):
            await world.ask(str(number))
        assert world.counts()[0] >= 1


async def test_all_away_is_a_refusal_with_the_reasons(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        for host in world.hosts.values():
            host.crash()
        await world.sweep(lambda: all(each.state is InstanceState.FAILED for each in world.instances().values()))
        reply = await world.ask()
        assert reply.status_code == 503
        message = reply.json()["error"]["message"]
        assert "one/big: Its server cannot be reached; two/big: Its server cannot be reached" in message
        assert "127.0.0.1" not in message
        assert (await world.house.chat("hi", model="one/big")).status_code == 503


async def test_those_who_wait_for_a_host_that_goes_are_served_by_another(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two", model="      slots: 1\n") as world:
        gone, there = world.hosts["one"], world.hosts["two"]
        gone.script(fault(delay=30))
        there.script(fault(delay=0.2))
        running = [asyncio.create_task(world.ask(str(number))) for number in range(4)]
        await world.house.until(lambda: all(world.asked()))
        gone.crash()
        replies = await asyncio.gather(*running)
        assert sorted(each.status_code for each in replies) == [200, 200, 200, 502]


async def test_a_crash_amid_many_costs_only_what_ran_there(tmp_path: Path) -> None:
    async with several(tmp_path, model="      slots: 2\n") as world:
        for host in world.hosts.values():
            host.script(*[fault(delay=0.02)] * 30)
        asked = [f"number {number}" for number in range(30)]
        running = [asyncio.create_task(world.ask(prompt)) for prompt in asked]
        await world.house.until(lambda: sum(world.asked()) >= 9)
        world.hosts["two"].crash()
        replies = await asyncio.gather(*running)
        failed = {
            prompt: each.status_code for prompt, each in zip(asked, replies, strict=True) if each.status_code != 200
        }
        assert len(failed) <= 2, "no more than it had slots"
        assert set(failed.values()) <= {502, 503}
        posts = [seen for host in world.hosts.values() for seen in host.requests if seen.method == "POST"]
        prompts = [seen.body["messages"][0]["content"] for seen in posts]
        assert len(prompts) == len(set(prompts)), "none was sent twice"
        assert set(asked) - set(prompts) <= set(failed), "what the crash cut off before it was read has failed"


async def test_slots_bound_each_host(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two", model="      slots: 1\n") as world:
        replies = await asyncio.gather(*(world.ask(str(number)) for number in range(8)))
        assert [each.status_code for each in replies] == [200] * 8
        assert [host.most_running for host in world.hosts.values()] == [1, 1]


async def test_a_host_is_taken_out_by_an_unload_until_a_load(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        await world.house.services.gateway.unload("one/big", "one/big")
        await world.sweep()
        assert list(world.instances()) == ["two/big"]
        await world.house.services.gateway.load("big", instance_id="one/big", activate=False)
        await world.sweep()
        assert sorted(world.instances()) == ["one/big", "two/big"]
        assert (await world.house.chat("hi", model="one/big")).json()["model"] == "there-one"


async def test_before_the_first_look_a_request_is_served_all_the_same(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        await world.house.services.gateway.unload("big")
        assert not world.instances()
        assert (await world.ask()).status_code == 200
        await world.sweep(lambda: len(world.instances()) == 2)
        hosts = {each.model_key for each in world.instances().values()}
        assert hosts == {"big"}
        assert (await world.ask("again")).status_code == 200


@pytest.mark.req("P20")
async def test_keys_are_nowhere_to_be_seen(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        house = world.house
        await world.ask()
        world.hosts["one"].crash()
        await world.ask()
        await world.ask()
        shown = [(await house.http.get(path)).text for path in ("/health", "/v1/models", "/admin/models", "/metrics")]
        services = house.services
        assert KEY not in f"{shown} {house.events} {services.pool!r} {services.providers!r} {services.catalog.models()}"


async def test_a_host_that_the_file_names_no_more_is_drained(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        services, (entry,) = world.house.services, world.house.services.catalog.models()[:1]
        gate = asyncio.create_task(world.house.chat("slow", model="one/big"))
        world.hosts["one"].script(fault(delay=0.3))
        await world.house.until(lambda: world.asked() == [1, 0])
        left = {"hosts": {name: place for name, place in entry.config["hosts"].items() if name != "one"}}
        await services.catalog.replace([ModelEntry("big", "openai", config=left)])
        await world.sweep()
        assert (await world.ask()).status_code == 200
        assert world.asked() == [1, 1]
        assert (await gate).status_code == 200, "what ran goes on"
        await world.sweep(lambda: list(world.instances()) == ["two/big"])


async def test_what_is_there_without_a_load_has_no_time_to_live(tmp_path: Path) -> None:
    async with several(tmp_path, "one", model="    ttl: 1\n") as world:
        (info,) = [each for each in world.house.services.catalog.models() if each.key == "big"]
        assert info.load.idle_ttl == 1
        assert world.instances()["one/big"].expires_at is None


async def test_a_model_that_leaves_the_file_and_comes_back(tmp_path: Path) -> None:
    async with several(tmp_path, "one", "two") as world:
        path, reloading = tmp_path / "models.yaml", world.house.services.reloading
        text = path.read_text()
        path.write_text("models: []\n")
        await reloading.reload()
        await world.sweep(lambda: not world.instances())
        path.write_text(text.replace("there-one", "there-new"))
        await reloading.reload()
        await world.sweep(lambda: len(world.instances()) == 2)
        reply = await world.house.chat("hi", model="one/big")
        assert world.last("one") == "there-new"
        assert reply.status_code == 200
        path.write_text(text)
        await reloading.reload()
        await world.sweep(lambda: len(world.house.named(ModelUnloadComplete)) == 3 and len(world.instances()) == 2)
        await world.house.chat("hi", model="one/big")
        assert world.last("one") == "there-one", "an entry that changed is followed"
