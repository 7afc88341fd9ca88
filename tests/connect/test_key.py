"""The key that `lanhaven connect` makes for an app, at a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.scripted import Cli
from tests.cli.test_failures import tries
from tests.serving import serving

pytestmark = pytest.mark.anyio

MODELS = "models:\n  - {id: alpha, provider: mock, enabled: true}\n"
KEY = "sk-test-0123456789abcdef0123456789abcdef"


@pytest.mark.req("S4-29")
async def test_it_is_made_works_and_is_no_admin(tmp_path: Path) -> None:
    for name in ("server", "user"):
        (tmp_path / name).mkdir()
    async with serving(tmp_path / "server", MODELS, key=KEY) as house:
        cli = Cli(tmp_path / "user", {"LANHAVEN_URL": house.url, "LANHAVEN_API_KEY": KEY})

        async def connect(*words: str, **variables: str) -> tuple[int, str, str]:
            done = await asyncio.to_thread(cli, "connect", *words, **variables)
            return done.status, done.out, done.err

        status, out, err = await connect("openai-python")
        assert status == 0, err
        assert "made the key openai-python for it" in err
        key = out.partition('api_key="')[2].partition('"')[0]
        assert key.startswith("sk-lan-")
        assert (await connect("openai-python", "--no-test"))[1] == out, "the same text the next time"
        own = {"X-API-Key": key}
        assert (await house.http.get("/v1/models", headers=own)).status_code == 200
        assert (await house.http.get("/admin/connect", headers=own)).status_code == 403
        # Who has only that key gets the facts from the lists, and gives it to the next app.
        status, out, err = await connect("curl", LANHAVEN_API_KEY=key)
        assert (status, f"Bearer {key}" in out) == (0, True), err
        # Notes that are gone leave a name that is taken.
        (cli.home / ".local/state/lanhaven/connect.json").unlink()
        status, out, err = await connect("openai-python", "--no-test")
        assert (status, out) == (1, "")
        assert "openai-python already" in err
        assert "--key OTHER-NAME" in tries(await asyncio.to_thread(cli, "connect", "openai-python"))[0]
