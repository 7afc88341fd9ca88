"""The first minutes: `lanhaven up` in an empty home, a chat, a second start, a second model while it runs.

The packages with the models are laid where somebody offline would put them: tests/packed proves the way from an index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from lanhaven.packed import PACKED, models_folder
from tests.house_process import PATIENCE, HouseProcess, environment, sockets_folder, until, wait_ready


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Path:
    """A home with nothing in it but two downloads: a package, and a model that needs a conversion otherwise."""
    home = tmp_path_factory.mktemp("newcomer")
    folder = models_folder(home / ".local/share/lanhaven")
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / PACKED["smollm2"].wheel.name, "w", zipfile.ZIP_STORED) as package:
        package.write(smollm2, PACKED["smollm2"].members[0].name)
    shutil.copyfile(minilm, folder / minilm.name)
    return home


def plain(home: Path, run_dir: Path) -> dict[str, str]:
    """No setting but the place of sockets: all else is the default below HOME."""
    settings = environment(home, LANHAVEN_RUN_DIR=str(run_dir))
    return {name: value for name, value in settings.items() if not name.startswith("LANHAVEN_") or "RUN" in name}


@contextmanager
def up(home: Path) -> Iterator[HouseProcess]:
    """`lanhaven up`, as it is typed (but for the port: 8002 may be taken here)."""
    with sockets_folder() as run_dir, (home / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "lanhaven", "up", "--port", "0"]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=plain(home, run_dir)
        )
        try:
            run_file = home / ".local/state/lanhaven/server.json"
            url = wait_ready(process, run_file, home / "server.log")
            with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
                house = HouseProcess(process, home, run_dir, url, http)
                until(lambda: "ready in" in house.log, "the banner")
                yield house
                assert house.stop() == 0
        finally:
            process.kill()
            process.wait(PATIENCE)


def command(house: HouseProcess, *words: str) -> str:
    """What a command of the same user says; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "lanhaven", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, cwd=house.home,
        env=plain(house.home, house.run_dir),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.req("S0-91", "S4-25")
def test_an_empty_home_a_chat_and_a_second_start(home: Path) -> None:
    models = home / ".config/lanhaven/models.yaml"
    with up(home) as house:
        assert "fetching smollm2" in house.log
        assert house.log.count("http://127.0.0.1:") >= 1
        assert house.answer("What is the capital of France?", max_tokens=8).strip()
        assert house.get("/debug/status")["activeModel"]["modelKey"] == "smollm2"
        written = models.read_text()
        assert "smollm2" in written
    with up(home) as house:
        assert "fetching" not in house.log
        assert "smollm2 loaded" in house.log, "it is the default model, and loaded at the start"
        assert models.read_text() == written
        assert house.answer("What is the capital of France?", max_tokens=8).strip()


@pytest.mark.req("S0-47")
def test_a_second_model_while_it_runs(home: Path) -> None:
    with up(home) as house:
        engines = house.engines()
        body = {"model": "minilm", "input": "The quick brown fox jumps over the lazy dog"}
        assert house.http.post("/v1/embeddings", json=body).status_code == 404
        command(house, "get", "minilm")
        reply = house.http.post("/v1/embeddings", json=body)
        assert reply.status_code == 200
        assert len(reply.json()["data"][0]["embedding"]) == 384
        assert engines < house.engines(), "and the chat model is still there"
        said = command(house, "ps")
        assert "minilm" in said
        assert "smollm2" in said
