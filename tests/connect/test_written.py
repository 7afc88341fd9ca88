"""Files of apps: written whole, with a copy, and taken back only if they are still what was written."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from lanhaven.connect.placing import path_of, profile_of
from lanhaven.connect.recipe import Where
from lanhaven.connect.written import FILE_NAME, Notes, read, undo, write
from lanhaven.errors import GatewayError, InstanceConflict, InvalidRequest, NotFound
from tests.disks import make_read_only, small_disk


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "state")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_was_not_there_and_its_folders(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / ".config/app/settings.json"
    done = write("app", path, None, "{}\n", notes)
    assert (path.read_text(), done.backup) == ("{}\n", None)
    assert mode(path) == 0o600, "it may hold a key"
    assert undo("app", notes) == path
    assert not path.exists()


def test_a_file_that_was_there(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old\n")
    path.chmod(0o644)
    done = write("app", path, "old\n", "new\n", notes)
    assert done.backup == str(tmp_path / "settings.json.before-lanhaven-app")
    assert (path.read_text(), mode(path)) == ("new\n", 0o644)
    assert (Path(done.backup).read_text(), mode(Path(done.backup))) == ("old\n", 0o600)
    undo("app", notes)
    assert path.read_text() == "old\n"
    assert not Path(done.backup).exists()
    with pytest.raises(NotFound, match="Nothing was written"):
        undo("app", notes)


def test_writing_twice_goes_back_to_the_beginning(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old\n")
    write("app", path, "old\n", "new\n", notes)
    write("app", path, "new\n", "newer\n", notes)
    undo("app", notes)
    assert path.read_text() == "old\n"


def test_what_somebody_changed_since_is_not_taken_back(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old\n")
    done = write("app", path, "old\n", "new\n", notes)
    path.write_text("mine\n")
    with pytest.raises(InstanceConflict, match="changed since") as caught:
        undo("app", notes)
    assert str(done.backup) in str(caught.value.hint)
    assert path.read_text() == "mine\n"
    again = write("app", path, "mine\n", "newest\n", notes)
    undo("app", notes)
    assert (path.read_text(), again.backup) == ("mine\n", done.backup)


def test_a_file_that_is_gone_is_not_taken_back(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    write("app", path, None, "new\n", notes)
    path.unlink()
    with pytest.raises(InstanceConflict, match="changed since"):
        undo("app", notes)


def test_a_copy_that_is_gone(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_text("old\n")
    Path(str(write("app", path, "old\n", "new\n", notes).backup)).unlink()
    with pytest.raises(NotFound, match="copy"):
        undo("app", notes)
    assert path.read_text() == "new\n"


def test_somebody_who_writes_at_the_same_time_wins(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_text("theirs\n")
    with pytest.raises(InstanceConflict, match="meanwhile"):
        write("app", path, "old\n", "new\n", notes)
    assert path.read_text() == "theirs\n"


def test_a_link_stays_a_link(tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "dotfiles").mkdir()
    real, link = tmp_path / "dotfiles/zshrc", tmp_path / ".zshrc"
    real.write_text("old\n")
    link.symlink_to(real)
    write("app", link, "old\n", "new\n", notes)
    assert link.is_symlink()
    assert real.read_text() == "new\n"
    undo("app", notes)
    assert (link.is_symlink(), real.read_text()) == (True, "old\n")


def test_a_folder_that_takes_nothing_changes_nothing(tmp_path: Path, notes: Notes) -> None:
    with small_disk(tmp_path / "disk", "64k") as folder:
        path = folder / "settings.json"
        path.write_text("old\n")
        make_read_only(folder)
        with pytest.raises(GatewayError, match="could not be written") as caught:
            write("app", path, "old\n", "new\n", notes)
        assert "permissions" in str(caught.value.hint)
        assert sorted(each.name for each in folder.iterdir()) == ["settings.json"]
    with pytest.raises(NotFound):
        undo("app", notes)


def test_a_copy_without_a_change_is_removed_again(tmp_path: Path, notes: Notes) -> None:
    """Where the file cannot be written, though beside the link to it there is room."""
    path = tmp_path / "settings.json"
    with small_disk(tmp_path / "disk", "64k") as folder:
        (folder / "real.json").write_text("old\n")
        path.symlink_to(folder / "real.json")
        make_read_only(folder)
        with pytest.raises(GatewayError, match="could not be written"):
            write("app", path, "old\n", "new\n", notes)
        assert sorted(each.name for each in tmp_path.glob("settings*")) == ["settings.json"]
        assert (path.read_text(), notes.written("app")) == ("old\n", None)


def test_what_cannot_be_taken_back_is_told(tmp_path: Path, notes: Notes) -> None:
    with small_disk(tmp_path / "disk", "64k") as folder:
        write("app", folder / "settings.json", None, "new\n", notes)
        make_read_only(folder)
        with pytest.raises(GatewayError, match="could not be written"):
            undo("app", notes)
        assert notes.written("app") is not None


def test_a_place_where_no_folder_can_be(tmp_path: Path, notes: Notes) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(GatewayError, match=r"could not be written|cannot be read"):
        write("app", tmp_path / "file/settings.json", None, "new\n", notes)
    assert notes.written("app") is None


def test_what_is_no_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidRequest, match="UTF-8"):
        read(tmp_path / "x")
    with pytest.raises(InvalidRequest, match="not a file"):
        read(tmp_path)
    (tmp_path / "y").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(InvalidRequest, match="1 MiB"):
        read(tmp_path / "y")


def test_line_ends_come_back_as_they_were(tmp_path: Path, notes: Notes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b"old\r\n")
    write("app", path, read(path), "new\r\n", notes)
    assert path.read_bytes() == b"new\r\n"
    undo("app", notes)
    assert path.read_bytes() == b"old\r\n"


def test_keys_are_remembered_for_their_owner_alone(tmp_path: Path, notes: Notes) -> None:
    notes.keep_key("app", "http://a", "sk-1")
    notes.keep_key("app", "http://b", "sk-2")
    assert (notes.key("app", "http://a"), notes.key("app", "http://c")) == ("sk-1", None)
    notes.keep_key("app", "http://a", None)
    assert notes.key("app", "http://a") is None
    assert mode(tmp_path / "state" / FILE_NAME) == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": {"app": {"path": 1}}}', '{"files": {"app": []}}'])
def test_damaged_notes_are_no_notes(tmp_path: Path, notes: Notes, text: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE_NAME).write_text(text)
    assert notes.written("app") is None
    assert notes.key("app", "http://a") is None
    notes.keep_key("app", "http://a", "sk-1")
    assert json.loads((tmp_path / "state" / FILE_NAME).read_text())["keys"] == {"app http://a": "sk-1"}


WHERE = Where(
    "~/.config/x/s.json", macos="~/Library/x/s.json", windows="~/AppData/x.json", variable=("X_HOME", "s.json")
)


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/ann/.config/x/s.json"),
        ("linux", {"XDG_CONFIG_HOME": "/etc/ann"}, "/etc/ann/x/s.json"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, "/home/ann/.config/x/s.json"),
        ("linux", {"X_HOME": "/opt/x"}, "/opt/x/s.json"),
        ("darwin", {"XDG_CONFIG_HOME": "/etc/ann"}, "/home/ann/Library/x/s.json"),
        ("win32", {}, "/home/ann/AppData/x.json"),
    ],
)
def test_where_files_lie(platform: str, environment: dict[str, str], expected: str) -> None:
    assert path_of(WHERE, environment, Path("/home/ann"), platform) == Path(expected)


def test_a_file_of_a_project_lies_where_one_is() -> None:
    assert path_of(Where("librechat.yaml"), {}, Path("/home/ann"), "linux") == Path.cwd() / "librechat.yaml"


@pytest.mark.parametrize(("shell", "name"), [("/bin/bash", ".bashrc"), ("/usr/bin/zsh", ".zshrc"), ("", ".profile")])
def test_which_file_a_shell_reads(shell: str, name: str) -> None:
    assert profile_of({"SHELL": shell}, Path("/home/ann")) == Path("/home/ann", name)
