"""Folders that mean harm, or merely change: nothing hangs, nothing outside is read, every reason is told (F-167, F-168)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lanhaven.importer import Limits, Root, Wishes, look, preview, scan
from lanhaven.importer.ollama import PARAMETERS
from tests.formats.gguf_files import TEXT, U64, facts, field, gguf
from tests.importer.trees import hf, ids, looked, mlx, model, ollama, part, put, reasons


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with one good model."""
    put(tmp_path / "zoo/good.gguf", model())
    return tmp_path / "zoo"


@pytest.mark.req("F-167", "F-168")
def test_links_out_of_the_folder(zoo: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside/secret.gguf", model("secret"))
    (zoo / "leak.gguf").symlink_to(outside)
    (zoo / "etc").symlink_to("/etc")
    (zoo / "zero.gguf").symlink_to("/dev/zero")
    found = looked(zoo)
    assert ids(found) == ["good"]
    assert {name: "leads out" in reason for name, reason in reasons(found).items()} == dict.fromkeys(
        ("leak.gguf", "etc", "zero.gguf"), True
    )


@pytest.mark.req("F-167")
def test_loops(zoo: Path) -> None:
    (zoo / "self").symlink_to(zoo)
    (zoo / "up").symlink_to("..")
    (zoo / "ring.gguf").symlink_to(zoo / "ring.gguf")
    found = looked(zoo)
    assert ids(found) == ["good"]
    assert "cannot be read" in reasons(found)["ring.gguf"]


@pytest.mark.req("F-167")
def test_what_is_no_regular_file(zoo: Path) -> None:
    os.mkfifo(zoo / "pipe.gguf")
    os.mkfifo(zoo / "config.json")
    (zoo / "folder.gguf").mkdir()
    (zoo / "to-folder.gguf").symlink_to(zoo / "folder.gguf")
    put(zoo / "model.safetensors", b"x")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(zoo / "socket.gguf"))
        found = looked(zoo)
    assert ids(found) == ["good"]
    assert {name for name, reason in reasons(found).items() if "not a regular file" in reason} == {
        "pipe.gguf", "socket.gguf", "config.json",
    }  # fmt: skip


@pytest.mark.req("F-167")
@pytest.mark.parametrize(
    "name", ["line\nbreak.gguf", "-rf.gguf", "Ünïcödé 模型.gguf", "tab\tand\x1b[31m.gguf", "a'\"b.gguf"]
)
def test_names_of_all_kinds(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, model())
    (found,) = looked(tmp_path).found
    assert found.path == tmp_path / name
    assert found.named.id.isprintable()
    assert not found.named.id.startswith("-")


@pytest.mark.req("F-167")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"caf\xe9.gguf"), model())
    (left,) = looked(tmp_path).left_out
    assert "not UTF-8" in left.reason
    assert left.path.endswith("caf\\udce9.gguf")


@pytest.mark.req("F-169")
@pytest.mark.parametrize("raw", [b"", b"GGUF", b"not a model", model()[:-40], b"GGUF" + b"\xff" * 64])
def test_corrupt_files(zoo: Path, raw: bytes) -> None:
    put(zoo / "bad.gguf", raw)
    found = looked(zoo)
    assert ids(found) == ["good"]
    assert reasons(found)["bad.gguf"]


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that every user can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.req("F-167")
def test_a_folder_that_cannot_be_read(readable: Path) -> None:
    put(readable / "good.gguf", model())
    put(readable / "locked/hidden.gguf", model("hidden"))
    put(readable / "shut.gguf", model("shut")).chmod(0o000)
    hf(readable, "half/open", {"x.gguf": model("x")})
    ollama(readable / "store", "x:1", {"model": model("y")})
    put(readable / "parts/big-00001-of-00002.gguf", part(0, 2))
    mlx(readable / "m")
    listed = ("models--half--open", "store", "parts", "m")  # they may be listed, and not entered
    (readable / "locked").chmod(0o000)
    for name in listed:
        (readable / name).chmod(0o444)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        found = looked(readable)
    finally:
        os.seteuid(before)
        for name in ("locked", *listed):
            (readable / name).chmod(0o755)
    assert ids(found) == ["good"]
    assert {"locked", "shut.gguf", "snapshots", "manifests", "big-00001-of-00002.gguf"} <= set(reasons(found))


@pytest.mark.req("F-167")
def test_the_root_removed_while_it_is_looked_at(zoo: Path) -> None:
    for number in range(20):
        put(zoo / f"sub{number:02}/m.gguf", model(str(number)))
    found = scan([Root(zoo)], lambda entries, models: shutil.rmtree(zoo, ignore_errors=True))
    assert ids(found) == ["good"]
    assert any("No such file" in each.reason or "removed meanwhile" in each.reason for each in found.left_out)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    found = looked(tmp_path / "gone")
    assert not found.found
    assert "cannot be read" in found.left_out[0].reason


@pytest.mark.req("F-168")
def test_a_file_that_is_exchanged_while_it_is_read(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = look.describe_gguf

    def exchange(path: Path) -> object:
        found = real(path)
        path.unlink()
        put(path, model("another"))
        return found

    monkeypatch.setattr(look, "describe_gguf", exchange)
    found = looked(zoo)
    assert not found.found
    assert "changed while" in found.left_out[0].reason


@pytest.mark.req("F-168")
def test_an_mlx_folder_whose_files_lead_out(tmp_path: Path) -> None:
    folder = mlx(tmp_path / "zoo/m")
    (folder / "config.json").rename(tmp_path / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    assert not looked(tmp_path / "zoo").found


@pytest.mark.req("F-167")
def test_more_entries_than_are_looked_at(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path / f"d{number:02}/x.txt", "")
    put(tmp_path / "z/late.gguf", model())
    found = looked(tmp_path, limits=Limits(entries=20))
    assert not found.found
    assert found.entries == 20
    assert [each.reason for each in found.left_out] == ["more than 20 entries: the rest was not looked at"]


@pytest.mark.req("F-167")
def test_folders_deeper_than_are_looked_at(tmp_path: Path) -> None:
    put(tmp_path / "a/b/c/d/deep.gguf", model())
    found = looked(tmp_path, limits=Limits(depth=3))
    assert not found.found
    assert "folders deep" in reasons(found)["c"]


@pytest.mark.req("F-167")
def test_more_models_than_are_taken(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path / f"{number}.gguf", model(str(number)))
    found = looked(tmp_path, limits=Limits(models=3))
    assert len(found.found) == 3
    assert "more than 3 models" in found.left_out[0].reason


@pytest.mark.req("F-167")
def test_reasons_are_bounded_too(tmp_path: Path) -> None:
    for number in range(9):
        put(tmp_path / f"{number}.gguf", b"")
    assert len(looked(tmp_path, limits=Limits(left_out=4)).left_out) == 4


@pytest.mark.req("S4-05")
def test_ten_thousand_files_and_how_it_goes(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / str(folder)).mkdir()
        for number in range(100):
            os.mknod(tmp_path / str(folder) / f"{number}.json")
    put(tmp_path / "99/one.gguf", model())
    steps: list[tuple[int, int]] = []
    found = scan([Root(tmp_path)], lambda entries, models: steps.append((entries, models)))
    assert ids(found) == ["one"]
    assert found.entries == 10_101
    assert len(steps) == 20
    assert steps[-1][1] == 1


JSON_NUMBERS = st.one_of(st.integers(-(1 << 63), (1 << 64) - 1), st.floats(allow_nan=False, allow_infinity=False))
PARAMETERS_OF_OLLAMA = st.dictionaries(
    st.sampled_from([*PARAMETERS, "num_ctx", "mirostat"]),
    st.one_of(JSON_NUMBERS, st.booleans(), st.text(), st.none(), st.lists(st.text(), max_size=20)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=PARAMETERS_OF_OLLAMA,
    title=st.text(max_size=300),
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60),
    context=st.integers(0, (1 << 64) - 1),
    encoder=st.booleans(),
)
@example(said={"seed": (1 << 64) - 1}, title="", name="x", context=0, encoder=False)
@example(said={"num_ctx": 1 << 40}, title="", name="x", context=0, encoder=False)
@example(said={}, title="", name="x", context=1 << 60, encoder=True)
def test_whatever_a_model_says_of_itself_models_yaml_takes_it(
    tmp_path: Path, said: dict[str, object], title: str, name: str, context: int, encoder: bool
) -> None:
    """One odd model must not keep all the others from being imported."""
    architecture = "bert" if encoder else "llama"
    numbers = {f"{architecture}.context_length": field(U64, context), "general.name": field(TEXT, title)}
    raw = gguf(facts(architecture, block_count=2) | numbers)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    ollama(folder / "ollama", "odd:1", {"model": raw, "params": json.dumps(said)})
    put(folder / "plain" / f"{name}.gguf", raw + b"apart")
    found = looked(folder)
    written = preview(folder / "models.yaml", found.found, Wishes(), merge=False)
    assert {each["provider"] for each in written.added} == {"llama_cpp"}
    assert len(written.added) == len(found.found) >= 1


def test_a_file_with_more_names_than_models_yaml_takes(tmp_path: Path) -> None:
    for number in range(80):
        ollama(tmp_path, f"tiny:{number:02}", {"model": model()})
    (entry,) = preview(tmp_path / "models.yaml", looked(tmp_path).found, Wishes(), merge=False).added
    assert (entry["id"], len(entry["aliases"])) == ("tiny:00", 64)
