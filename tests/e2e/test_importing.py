"""Models that people have already, in three places, become a server's by one command, and answer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanhaven.models_file import read
from tests.house_process import HouseProcess, environment, running
from tests.importer.trees import IMAGE, link, put

# Where a house keeps one model, no load config is needed to make it small.
SMALL = ("--override", "n_ctx=512", "--override", "slots=1", "--override", "max_tokens=8")
HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def place(at: Path, file: Path) -> Path:
    """The same file once more, not a copy where the disk allows it."""
    at.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, at)
    except OSError:  # another disk
        at.write_bytes(file.read_bytes())
    return at


def run(home: Path, *words: str) -> None:
    command = [sys.executable, "-m", "lanhaven", "import", *words]
    done = subprocess.run(command, env=environment(home), cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Path:
    """SmolLM2 as a plain file, in the hub's cache and as Ollama's blob; MiniLM in the cache."""
    home = tmp_path_factory.mktemp("import")
    plain = place(home / "zoo/SmolLM2-135M-Instruct.Q4_1.gguf", smollm2)
    for repository, file in (("org/SmolLM2-135M-Instruct-GGUF", plain), ("org/MiniLM-GGUF", minilm)):
        folder = home / f".cache/huggingface/hub/models--{repository.replace('/', '--')}"
        link(folder / "snapshots/0123abcd" / file.name, place(folder / "blobs" / file.stem, file))
        put(folder / "refs/main", "0123abcd")
    store = home / ".ollama/models"
    place(store / f"blobs/sha256-{HASH}", plain)
    layer = f'{{"layers": [{{"mediaType": "{IMAGE}model", "digest": "sha256:{HASH}"}}]}}'
    put(store / "manifests/registry.ollama.ai/library/smollm2/135m", layer)
    return home


@pytest.fixture(scope="module")
def house(home: Path) -> Iterator[HouseProcess]:
    models = home / "models.yaml"
    run(home, "zoo", "--hf-cache", "--ollama", "--enable", "--output", str(models), *SMALL)
    with running(home, models.read_text()) as house:
        yield house


@pytest.mark.req("S4-05", "S4-06", "S4-x4")
def test_each_name_answers(house: HouseProcess, home: Path) -> None:
    assert [entry.id for entry in read(home / "models.yaml").entries] == [
        "smollm2-135m-instruct.q4_1",
        "org/MiniLM-GGUF:F32",
    ]
    for name in ("smollm2-135m-instruct.q4_1", "org/SmolLM2-135M-Instruct-GGUF:Q4_1", "smollm2:135m"):
        assert house.answer("Hello!", model=name)
    body = {"model": "org/MiniLM-GGUF:F32", "input": "sea"}
    reply = house.http.post("/v1/embeddings", json=body)
    assert len(reply.json()["data"][0]["embedding"]) == 384


@pytest.mark.req("F-168")
@pytest.mark.parametrize(
    ("store", "name"), [("--ollama", "smollm2:135m"), ("--hf-cache", "org/SmolLM2-135M-Instruct-GGUF:Q4_1")]
)
def test_a_file_runs_where_it_lies_in_a_store(house: HouseProcess, home: Path, store: str, name: str) -> None:
    for identifier, instance in house.loaded().items():
        house.unload(instance["path"], instanceId=identifier)
    (home / "models.yaml").unlink()
    run(home, store, "--enable", "--output", str(home / "models.yaml"), *SMALL)
    house.post("/admin/models/refresh")
    (entry,) = (each for each in read(home / "models.yaml").entries if each.id == name)
    assert Path(entry.config["model_path"]).parent.name == "blobs"
    assert house.answer("Hello!", model=name)


def test_the_first_start_says_that_there_may_be_models(home: Path) -> None:
    """The line alone: a start would fetch a model."""
    code = "from lanhaven.cli import importing; importing.tell_of_stores()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "(hf-cache, ollama)" in done.stderr
    assert "lanhaven import --dry-run" in done.stderr
