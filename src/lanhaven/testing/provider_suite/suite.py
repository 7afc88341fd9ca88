"""The tests. They run in this order, share one provider, and load an instance only where none is left."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import EngineCrashed, EngineHung, GatewayError
from lanhaven.providers.ignoring import admin_name
from lanhaven.testing.provider_suite.case import ONE, ROUTES, TWO, Case
from lanhaven.testing.provider_suite.rig import Lack, Rig
from lanhaven.types.models import LoadConfig, Upstream

HEALTH_WITHIN = 2.0  # seconds; the server gives up on a provider then
UNKNOWN = "no_such_setting"


class ProviderSuite:
    """Give it a fixture `rig` of class scope."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture(scope="class")
    @classmethod
    def anyio_backend(cls) -> tuple[str, dict[str, Any]]:
        """The loop that the server runs on."""
        return "asyncio", {"use_uvloop": sys.platform != "win32"}

    @pytest.fixture(scope="class")
    @classmethod
    async def case(cls, rig: Rig) -> AsyncIterator[Case]:
        """The provider, with a run folder whose path is short enough for sockets."""
        with tempfile.TemporaryDirectory(prefix="lh") as name:
            case = Case(rig, Path(name))
            yield case
            await case.aclose()

    # Models

    async def test_it_describes_a_model(self, case: Case) -> None:
        info = await case.info()
        assert info.unavailable is None
        assert "chat" in info.capabilities
        assert case.provider.name == case.rig.entry.provider

    async def test_a_setting_that_it_does_not_know_is_refused_by_name(self, case: Case) -> None:
        entry = case.rig.entry
        refused = case.describe(replace(entry, config={**entry.config, UNKNOWN: 1}))
        assert UNKNOWN in (refused.unavailable or ""), "a slip of the pen would have no effect, and nobody would know"

    async def test_it_declares_what_it_honours(self, case: Case) -> None:
        assert case.provider.load_fields <= set(LoadConfig.__slots__)
        assert case.provider.sampling_fields

    # Loads

    async def test_a_load_says_what_it_did(self, case: Case) -> None:
        loaded = await case.load(ONE)
        heard = case.heard[ONE]
        assert heard.stages
        assert all(0 <= each <= 1 for each in heard.fractions)
        assert (loaded.upstream.base_url is None) != (loaded.upstream.socket is None)
        assert (case.held > 0) != (Lack.LOADING in case.rig.lacks)

    async def test_each_field_of_a_load_config_is_applied_or_said_to_be_ignored(self, case: Case) -> None:
        loaded, asked = await case.ready(), case.rig.asked.said()
        ignored = {each.key for each in loaded.ignored}
        assert set(map(admin_name, asked)) <= loaded.applied.keys() | ignored
        assert set(map(admin_name, asked.keys() - case.provider.load_fields)) <= ignored
        assert all(each.reason for each in loaded.ignored)

    async def test_the_memory_that_a_load_takes(self, case: Case) -> None:
        loaded = await case.ready()
        estimate = case.provider.estimate(await case.info(), case.rig.asked)
        if Lack.MEMORY in case.rig.lacks:
            assert estimate == 0
        else:
            assert estimate > 0
            assert loaded.size_bytes > 0

    async def test_it_lists_what_runs(self, case: Case) -> None:
        """Of instances that it loaded for us the name is enough."""
        loaded, found = await case.ready(), await case.running()
        if found is None:
            assert Lack.LOADING in case.rig.lacks, "who loads something can tell what runs"
        else:
            assert ONE in found
            assert _place(found[ONE].upstream) in (None, _place(loaded.upstream))

    # Requests

    @pytest.mark.parametrize("capability", sorted(ROUTES))
    async def test_it_does_what_its_model_is_said_to_do(self, case: Case, capability: str) -> None:
        loaded, info = await case.ready(), await case.info()
        assert await case.does(loaded, info, capability) == (capability in info.capabilities)

    async def test_models_that_do_something_else(self, case: Case) -> None:
        for entry in case.rig.others:
            loaded = await case.load(TWO, entry)
            info = case.describe(entry)
            assert [each for each in ROUTES if await case.does(loaded, info, each)], "it can do nothing"
            await case.unload(TWO)

    async def test_a_stream_comes_in_pieces_and_ends(self, case: Case) -> None:
        exchange = await case.send(await case.ready(), stream=True)
        received = b""
        while block := await exchange.more():
            received += block
        frames = [line.removeprefix(b"data: ") for line in received.splitlines() if line.startswith(b"data: {")]
        choices = [choice for frame in frames for choice in json.loads(frame)["choices"]]
        assert "".join(choice["delta"].get("content") or "" for choice in choices)
        assert exchange.outcome.finish_reason in ("stop", "length")
        assert b"data: [DONE]" in received

    async def test_a_client_that_leaves_frees_the_slot(self, case: Case) -> None:
        """One slot, and an answer that outlasts our patience: the next one comes only if the first was given up."""
        loaded = await case.ready()
        async with case.streaming(loaded):
            pass
        assert await case.answer(loaded)

    # What can be asked

    async def test_its_health_is_told_in_time(self, case: Case) -> None:
        async with asyncio.timeout(HEALTH_WITHIN):
            health = await case.provider.health()
        assert health.ok, health
        assert health.kind in ("engine", "server")
        assert health.detail

    async def test_the_lines_of_an_engines_log(self, case: Case) -> None:
        await case.answer(await case.ready())
        assert bool(case.provider.logs(ONE)) != (Lack.LOGS in case.rig.lacks)
        assert not case.provider.logs("never heard of")

    async def test_secrets_are_shown_nowhere(self, case: Case) -> None:
        loaded, found = await case.ready(), await case.running()
        keys = tuple(value.removeprefix("Bearer ") for name, value in loaded.upstream.headers)
        shown = f"{case.provider!r} {loaded!r} {found!r} {await case.info()!r} {await case.provider.health()!r}"
        shown += "\n".join(case.provider.logs(ONE))
        assert not [secret for secret in (*case.rig.secrets, *keys) if secret in shown]

    # Ends

    async def test_two_instances_of_which_one_is_unloaded(self, case: Case) -> None:
        one, before = await case.ready(ONE), case.held
        two = await case.ready(TWO)
        assert await case.answer(two)
        if not {Lack.LOADING, Lack.COPIES} & case.rig.lacks.keys():
            assert case.held > before
            assert _place(one.upstream) != _place(two.upstream)
        await case.unload(TWO)
        assert case.held == before, "what it took is given back when unload returns"
        found = await case.running()
        assert found is None or set(found) == {ONE}
        assert await case.answer(one)
        assert not case.heard[TWO].errors, "an unload is no crash"

    async def test_an_unload_of_what_is_not_there_is_fine(self, case: Case) -> None:
        for _ in range(2):
            await case.provider.unload(TWO)
            await case.provider.unload("never heard of")

    async def test_a_load_that_is_given_up_leaves_nothing(self, case: Case) -> None:
        await case.ready()
        before = case.held
        loading = asyncio.ensure_future(case.load(TWO, case.rig.slow))
        began = asyncio.ensure_future(case.heard_of(TWO))
        await asyncio.wait([loading, began], return_when=asyncio.FIRST_COMPLETED)
        assert loading.cancel() != (Lack.LOADING in case.rig.lacks)
        outcome, _ = await asyncio.gather(loading, began, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError) != (Lack.LOADING in case.rig.lacks)
        await case.unload(TWO)
        await case.until(lambda: case.held == before)
        found = await case.running()
        assert found is None or TWO not in found

    async def test_a_load_that_fails_says_why(self, case: Case) -> None:
        before = case.held
        with pytest.raises(GatewayError) as caught:
            loaded = await case.load(TWO, case.rig.broken)
            assert Lack.LOADING in case.rig.lacks
            await case.answer(loaded, hurry=True)
        assert caught.value.message
        assert not [secret for secret in case.rig.secrets if secret in f"{caught.value!r} {caught.value.facts}"]
        await case.unload(TWO)
        assert case.held == before

    async def test_an_engine_that_hangs(self, case: Case) -> None:
        loaded = await case.ready()
        await case.rig.engines.hang()
        if Lack.HANG in case.rig.lacks:
            with pytest.raises(GatewayError):
                await case.answer(loaded, hurry=True)
            assert not case.heard[ONE].errors
        else:
            await self._told(case, EngineHung)
        await case.unload()
        await case.rig.engines.mend()
        assert case.held == 0
        assert await case.answer(await case.ready())

    async def test_an_engine_that_crashes_in_the_middle_of_an_answer(self, case: Case) -> None:
        loaded = await case.ready()
        with pytest.raises(GatewayError):
            async with case.streaming(loaded) as exchange, asyncio.timeout(case.rig.patience):
                await case.rig.engines.crash()
                while await exchange.more():
                    pass
        if Lack.CRASH in case.rig.lacks:
            with pytest.raises(GatewayError):
                await case.answer(loaded)
            assert not case.heard[ONE].errors
        else:
            await self._told(case, EngineCrashed)
            assert ONE not in (await case.running() or {})
        await case.rig.engines.mend()
        assert await case.answer(await case.load(ONE)), "it is loaded again in its place"

    async def test_at_the_end_everything_ends(self, case: Case) -> None:
        """What runs on another machine is unloaded before, by the pool."""
        await case.ready()
        if Lack.MEMORY in case.rig.lacks:
            await case.unload()
        for _ in range(2):
            async with asyncio.timeout(case.rig.patience):
                await case.provider.aclose()
        await case.until(lambda: case.held == 0)
        left = await asyncio.to_thread(lambda: list(case.run_dir.iterdir()))
        assert not left, "files of its own belong to it"

    async def _told(self, case: Case, kind: type[GatewayError]) -> None:
        """Once, with a sentence for people."""
        heard = case.heard[ONE]
        async with asyncio.timeout(case.rig.patience):
            await heard.ended.wait()
        (error,) = heard.errors
        assert isinstance(error, kind)
        assert error.message


def _place(upstream: Upstream | None) -> tuple[str | None, str | None, str] | None:
    """Where requests go, and to whom there."""
    return None if upstream is None else (upstream.base_url, upstream.socket, upstream.model)
