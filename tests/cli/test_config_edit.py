"""`config edit`: what an editor made of a file is kept only when it is right. The editors are sed, sh and the like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.scripted import Cli, Result
from tests.cli.test_failures import tries


def config(cli: Cli) -> Path:
    return cli.home / ".config/lanhaven/config.yaml"


def written(cli: Cli, text: str) -> Path:
    file = config(cli)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def draft(done: Result) -> Path:
    found = re.search(r"what you wrote is in (\S+)", done.err + done.out)
    assert found is not None, done
    return Path(found[1])


def test_a_right_text_is_written(alone: Cli) -> None:
    file = written(alone, "# mine\nport: 9000\n")
    done = alone("config", "edit", VISUAL="sed -i s/9000/9001/", EDITOR="false", TMPDIR=str(alone.home))
    assert done.status == 0, done.err
    assert file.read_text() == "# mine\nport: 9001\n"
    assert "next start" in done.err
    assert not list(alone.home.glob("lanhaven-*"))


def test_a_wrong_text_is_told_with_its_line_and_not_kept_nor_lost(alone: Cli) -> None:
    file = written(alone, "# mine\nport: 9000\n")
    done = alone("config", "edit", EDITOR="sed -i s/9000/many/", TMPDIR=str(alone.home))
    assert done.status == 2
    assert "config.yaml:2" in done.err
    assert file.read_text() == "# mine\nport: 9000\n"
    assert draft(done).read_text() == "# mine\nport: many\n"


def test_on_a_terminal_a_wrong_text_can_be_edited_again(alone: Cli) -> None:
    file = written(alone, "port: 9000\n")
    (alone.home / "again").write_text('grep -q many "$1" && sed -i s/many/9002/ "$1" || sed -i s/9000/many/ "$1"\n')
    with alone.terminal("config", "edit", EDITOR="sh again", NO_COLOR="1") as terminal:
        terminal.until("config.yaml:1")
        terminal.until("Edit it again?")
        terminal.type("y\n")
        assert terminal.finish().status == 0
    assert file.read_text() == "port: 9002\n"


@pytest.mark.parametrize("name", ["config", "models"])
def test_a_file_that_is_not_there_is_not_made_of_nothing(alone: Cli, name: str) -> None:
    done = alone("config", "edit", name, EDITOR="true")
    assert (done.status, done.out) == (0, "")
    assert "is as it was" in done.err
    assert not (config(alone).parent / f"{name}.yaml").exists()


def test_models_yaml(alone: Cli) -> None:
    (alone.home / "models.yaml").write_text("models:\n  - {id: a, provider: mock}\n")
    assert alone("config", "edit", "models", EDITOR="sed -i s/a,/b,/").status == 0
    assert "id: b" in (alone.home / "models.yaml").read_text()
    done = alone("config", "edit", "models", EDITOR="sed -i s/id:/ide:/")
    assert done.status == 2
    assert "models.yaml:2" in done.err
    draft(done).unlink()


def test_an_editor_that_fails_and_one_that_changes_the_file_behind_our_back(alone: Cli) -> None:
    file = written(alone, "port: 9000\n")
    here = {"TMPDIR": str(alone.home)}
    assert alone("config", "edit", EDITOR="false", **here).status == 1
    assert not list(alone.home.glob("lanhaven-*"))
    (alone.home / "both").write_text(f'echo "port: 1" > {file}; echo "port: 2" > "$1"\n')
    done = alone("config", "edit", EDITOR="sh both", **here)
    assert (done.status, file.read_text()) == (1, "port: 1\n")
    assert "somebody else" in done.err
    assert draft(done).read_text() == "port: 2\n"


@pytest.mark.parametrize(("words", "editor", "status"), [((), "no-such-editor", 5), (("nothing",), "true", 2)])
def test_what_cannot_be(alone: Cli, words: tuple[str, ...], editor: str, status: int) -> None:
    done = alone("config", "edit", *words, EDITOR=editor)
    assert done.status == status
    assert tries(done)
