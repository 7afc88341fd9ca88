"""Entries as they are written: profiles, overrides, size rules, merging; and that their providers take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from ruamel.yaml import YAML

from lanhaven.errors import InvalidRequest
from lanhaven.importer import Found, Imported, Profile, Wishes, known_keys, preview, read_overrides, write
from lanhaven.importer.entries import family, tags
from lanhaven.importer.overrides import CONFIG
from lanhaven.models_file import read
from lanhaven.providers.base import ProviderContext
from lanhaven.providers.llamacpp.options import read_options as llama_options
from lanhaven.providers.mlx.options import read_options as mlx_options
from lanhaven.providers.registry import create
from lanhaven.types.models import ModelKind, Overflow
from tests.importer.trees import looked, mlx, model, projector, put

GIGA = 1_000_000_000


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A chat model that sees, and an MLX model."""
    put(tmp_path / "zoo/Qwen2.5-VL-Instruct-Q4_K_M.gguf", model("Qwen2.5 VL"))
    put(tmp_path / "zoo/mmproj.gguf", projector())
    mlx(tmp_path / "zoo/tiny-draft")
    return tmp_path / "zoo"


def imported(zoo: Path, wishes: Wishes | None = None, found: Sequence[Found] | None = None) -> dict[str, Any]:
    """id -> the entry as it stands in the file, after its provider has taken it."""
    path = zoo.parent / "out.yaml"
    path.unlink(missing_ok=True)
    write(path, looked(zoo).found if found is None else found, wishes or Wishes(), merge=False)
    for entry in read(path).entries:
        (mlx_options if entry.provider == "mlx" else llama_options)(entry.config)
    return {entry["id"]: entry for entry in YAML(typ="safe").load(path)["models"]}


@pytest.mark.req("S4-13", "S4-x4", "S4-x7")
def test_what_an_entry_has(zoo: Path) -> None:
    entries = imported(zoo)
    assert entries["qwen2.5-vl-instruct-q4_k_m"] == {
        "id": "qwen2.5-vl-instruct-q4_k_m",
        "provider": "llama_cpp",
        "enabled": False,
        "description": "Qwen2.5 VL, Q4_K_M, 0 MB, from folder",
        "tags": ["gguf", "qwen", "vision", "instruct", "quantized", "small"],
        "aliases": ["qwen2.5-vl-instruct"],
        "load": {"contextLength": 4096, "gpu": {"ratio": 1.0}},
        "config": {
            "model_path": str(zoo / "Qwen2.5-VL-Instruct-Q4_K_M.gguf"),
            "mmproj_path": str(zoo / "mmproj.gguf"),
            "vision": True,
            "n_batch": 512,
            "use_mmap": True,
        },
    }
    small = entries["tiny-draft"]
    assert (small["provider"], small["config"]) == ("mlx", {"model_path": str(zoo / "tiny-draft")})
    assert small["tags"] == ["mlx", "qwen", "draft", "quantized", "small"]


def test_the_provider_takes_it(zoo: Path, tmp_path: Path) -> None:
    imported(zoo, Wishes(enabled=True))
    (first, _) = read(tmp_path / "out.yaml").entries
    info = create("llama_cpp", ProviderContext("llama_cpp", tmp_path)).describe(first)
    assert (info.unavailable, info.kind) == (None, ModelKind.VLM)


@pytest.mark.req("S4-x4")
@pytest.mark.parametrize(
    ("size", "form", "expected"),
    [
        (40 * GIGA, "gguf", {"load": {"contextLength": 4096, "kvType": "q8_0"}, "tags": {"large"}}),
        (14 * GIGA, "gguf", {"load": {"contextLength": 4096}, "tags": {"large"}}),
        (5 * GIGA, "gguf", {"load": {"contextLength": 8192}, "tags": set()}),
        (2 * GIGA, "gguf", {"load": {"contextLength": 8192}, "tags": {"small"}}),
        (40 * GIGA, "mlx", {"config": {"cache_type": "quantized", "kv_bits": 4}, "tags": {"large"}}),
        (14 * GIGA, "mlx", {"config": {"cache_type": "quantized", "kv_bits": 8}, "tags": {"large"}}),
        (2 * GIGA, "mlx", {"tags": {"small"}}),
    ],
)
def test_sizes_decide(zoo: Path, size: int, form: str, expected: dict[str, Any]) -> None:
    (found,) = (each for each in looked(zoo).found if each.format == form)
    (entry,) = imported(zoo, found=[replace(found, size_bytes=size, max_context=32768)]).values()
    assert set(entry["tags"]) & {"large", "small"} == expected["tags"]
    load = {**entry.get("load", {})}
    load.pop("gpu", None)
    assert load == expected.get("load", {})
    assert expected.get("config", {}).items() <= entry["config"].items()


def test_embeddings_have_their_whole_context_and_no_sampling(zoo: Path) -> None:
    found = replace(looked(zoo).found[0], kind=ModelKind.EMBEDDING, max_context=512, sees=False, projector=None)
    wishes = Wishes(Profile.FAST, read_overrides(["temperature=0.5", "n_batch=64"]))
    (entry,) = imported(zoo, wishes, [found]).values()
    assert entry["load"]["contextLength"] == 512
    assert "defaults" not in entry
    assert entry["config"]["n_batch"] == 64
    assert "embedding" in entry["tags"]


@pytest.mark.parametrize(
    ("name", "architecture", "expected"),
    [("Mistral-7B", "llama", "mistral"), ("mymodel", "stablelm", "stablelm"), ("TinyLlama-1B", "llama", "tinyllama")],
)
def test_families(name: str, architecture: str, expected: str) -> None:
    assert family(name, architecture) == expected


def test_whole_numbers_are_not_quantized(zoo: Path) -> None:
    assert "quantized" not in tags(replace(looked(zoo).found[0], quantization="F16"))


@pytest.mark.req("S4-07", "S4-x3")
@pytest.mark.parametrize(
    ("profile", "defaults"),
    [
        (Profile.FAST, {"temperature": 0.3, "minP": 0.1, "topK": 10, "repeatPenalty": 1.0, "maxTokens": 256}),
        (Profile.BALANCED, {"temperature": 0.7, "minP": 0.05, "topK": 40, "repeatPenalty": 1.05, "maxTokens": 512}),
        (Profile.QUALITY, {"temperature": 0.8, "topP": 0.95, "topK": 50, "repeatPenalty": 1.1, "maxTokens": 1024}),
        (Profile.MEMORY, {"maxTokens": 256, "contextOverflow": "drop-oldest"}),
        (Profile.INTERACTIVE, {"temperature": 0.7, "minP": 0.05, "topK": 30, "repeatPenalty": 1.05, "maxTokens": 512}),
    ],
)
def test_profiles(zoo: Path, profile: Profile, defaults: dict[str, Any]) -> None:
    for entry in imported(zoo, Wishes(profile)).values():
        assert entry["defaults"] == defaults


@pytest.mark.req("S4-x3")
def test_the_memory_profile_quantizes_the_cache_of_each_engine(zoo: Path) -> None:
    entries = imported(zoo, Wishes(Profile.MEMORY))
    assert entries["qwen2.5-vl-instruct-q4_k_m"]["load"] == {
        "contextLength": 1024, "gpu": {"ratio": 1.0}, "kvType": "q4_0",
    }  # fmt: skip
    assert entries["tiny-draft"]["load"] == {"contextLength": 1024}
    assert entries["tiny-draft"]["config"] == {
        "model_path": str(zoo / "tiny-draft"),
        "cache_type": "quantized", "kv_bits": 4, "kv_group_size": 32, "quantized_kv_start": 256,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "told"),
    [(Profile.MEMORY, {"max_kv_size 1024", "kv_group_size 32"}), (Profile.INTERACTIVE, {"repetition_context_size 20"})],
)
def test_what_an_engine_cannot_do_is_told(zoo: Path, tmp_path: Path, profile: Profile, told: set[str]) -> None:
    notes = preview(tmp_path / "x.yaml", looked(zoo).found, Wishes(profile), merge=False).notes
    assert {text for text in told if any(text in note for note in notes)} == told


def test_what_came_with_a_model_yields_to_the_profile_and_to_overrides(zoo: Path) -> None:
    said = MappingProxyType({"temperature": 0.6, "topP": 0.9, "stop": ["<end>"]})
    found = [replace(looked(zoo).found[0], said=said, context=2048)]
    (plain,) = imported(zoo, found=found).values()
    assert plain["defaults"] == said
    assert plain["load"]["contextLength"] == 2048
    wishes = Wishes(Profile.QUALITY, read_overrides(["max_tokens=9"]))
    (entry,) = imported(zoo, wishes, found).values()
    assert entry["defaults"] | {"topK": 0} == {
        "temperature": 0.8, "topP": 0.95, "topK": 0, "repeatPenalty": 1.1, "maxTokens": 9, "stop": ["<end>"],
    }  # fmt: skip


@pytest.mark.req("S4-08")
def test_overrides_are_typed_and_go_where_they_belong(zoo: Path, tmp_path: Path) -> None:
    texts = ["temperature=0.5", "max_tokens=1024", "repetition_penalty=1.2", "stop=a,b", "contextOverflow=error"]
    texts += ["n_ctx=2048", "n_gpu_layers=20", "ttl=10m", "flash_attention=yes", "use_mmap=false", "kv_bits=8"]
    wishes = Wishes(overrides=read_overrides([*texts, "enabled=true", "pinned=no"]))
    entries = imported(zoo, wishes)
    seer, small = read(tmp_path / "out.yaml").entries
    assert (seer.sampling.temperature, seer.sampling.max_tokens, seer.sampling.repeat_penalty) == (0.5, 1024, 1.2)
    assert (seer.sampling.stop, seer.sampling.context_overflow) == (("a", "b"), Overflow.ERROR)
    assert (seer.load.context_length, seer.load.gpu_layers, seer.load.gpu_ratio) == (2048, 20, None)
    assert (seer.load.idle_ttl, seer.load.flash_attention, seer.enabled, seer.pinned) == (600.0, True, True, False)
    assert seer.config["use_mmap"] is False
    assert "kv_bits" not in seer.config
    assert entries[small.id]["config"]["kv_bits"] == 8


def test_all_layers_as_llama_cpp_python_says_it(zoo: Path, tmp_path: Path) -> None:
    imported(zoo, Wishes(overrides=read_overrides(["n_gpu_layers=-1"])))
    assert read(tmp_path / "out.yaml").entries[0].load.gpu_ratio == 1.0


@pytest.mark.req("S4-08")
@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (["temperature"], "key=value"),
        (["=1"], "key=value"),
        (["temperatur=1"], "is not known. Known: "),
        (["wings=2"], "is not known"),
        (["temperature=hot"], "must be a number from 0 to 2"),
        (["temperature=3"], "must be a number from 0 to 2"),
        (["n_ctx=1.5"], "must be a whole number"),
        (["use_mmap=maybe"], "neither true nor false"),
        (["cache_type=huge"], "is none of standard, rotating, quantized"),
        (["kv_bits=4", "max_kv_size=99"], "does not go with a rotating cache"),
        (["cache_type=standard", "kv_bits=4"], "does not go with a standard cache"),
        (["cache_type=rotating"], "needs max_kv_size"),
    ],
)
def test_overrides_that_are_refused(texts: list[str], part: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_overrides(texts)
    assert caught.value.message.startswith("--override ")
    assert part in caught.value.message
    assert caught.value.hint


def test_an_unknown_key_names_the_known_ones() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_overrides(["wings=2"])
    assert all(key in f"{caught.value.message} {caught.value.hint}" for key in known_keys())


@pytest.mark.parametrize("key", CONFIG)
def test_every_config_override_is_a_setting_of_its_engines(key: str) -> None:
    value = {"cache_type": "standard", "use_mmap": True, "check_tensors": True, "max_kv_size": 64}.get(key, 64)
    value = 4 if key == "kv_bits" else value
    for form in CONFIG[key][1]:
        (mlx_options if form == "mlx" else llama_options)({"model_path": "/m", key: value})


@pytest.mark.parametrize(
    ("texts", "config"),
    [
        (["max_kv_size=4096"], {"cache_type": "rotating", "max_kv_size": 4096}),
        (["cache_type=standard"], {"cache_type": "standard"}),
        (["kv_bits=8"], {"cache_type": "quantized", "kv_bits": 8, "kv_group_size": 32, "quantized_kv_start": 256}),
    ],
)
def test_one_kind_of_cache(zoo: Path, texts: list[str], config: dict[str, Any]) -> None:
    entry = imported(zoo, Wishes(Profile.MEMORY, read_overrides(texts)))["tiny-draft"]
    assert entry["config"] == {"model_path": str(zoo / "tiny-draft"), **config}


def test_an_override_that_no_model_has_is_told(zoo: Path, tmp_path: Path) -> None:
    found = [each for each in looked(zoo).found if each.format == "gguf"]
    wishes = Wishes(overrides=read_overrides(["kv_bits=4"]))
    assert any("kv_bits" in note for note in preview(tmp_path / "x.yaml", found, wishes, merge=False).notes)


def merge(path: Path, zoo: Path, wishes: Wishes | None = None) -> Imported:
    return write(path, looked(zoo).found, wishes or Wishes(), merge=True)


MINE = """\
# mine
default_model: house   # keep me

models:
  # the house's own
  - id: house
    provider: llama_cpp
    aliases: [tiny-draft]
    enabled: false
    config:
      model_path: {path}    # linked
"""


@pytest.mark.req("S4-x2")
def test_merging_keeps_what_is_there_and_doubles_no_file(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.gguf").symlink_to(zoo / "Qwen2.5-VL-Instruct-Q4_K_M.gguf")
    path = put(tmp_path / "models.yaml", MINE.format(path=tmp_path / "elsewhere.gguf"))
    done = merge(path, zoo)
    assert path.read_text().startswith(MINE.format(path=tmp_path / "elsewhere.gguf"))
    assert [(name, each.format) for name, each in done.known] == [("house", "gguf")]
    assert [entry["id"] for entry in done.added] == ["zoo/tiny-draft"]  # the other name is taken
    before = path.read_bytes()
    again = merge(path, zoo)
    assert path.read_bytes() == before
    assert (again.added, len(again.known)) == ((), 2)


def test_enabling_wakes_what_is_listed(zoo: Path, tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    merge(path, zoo)
    assert not any(entry.enabled for entry in read(path).entries)
    done = merge(path, zoo, Wishes(enabled=True))
    assert done.woken == ("qwen2.5-vl-instruct-q4_k_m", "tiny-draft")
    assert all(entry.enabled for entry in read(path).entries)
    assert merge(path, zoo, Wishes(enabled=True)).woken == ()


def test_a_second_run_writes_the_same(zoo: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.yaml"
    for _ in range(2):
        done = write(path, looked(zoo).found, Wishes(), merge=False)
    assert done.before == done.after == path.read_text()


def test_a_file_with_something_else_in_it_is_not_replaced(zoo: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "out.yaml", "models: []  # mine\n")
    with pytest.raises(InvalidRequest, match="something else in it"):
        write(path, looked(zoo).found, Wishes(), merge=False)
    assert path.read_text() == "models: []  # mine\n"


def test_a_file_that_is_wrong_is_refused(zoo: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "models.yaml", "models:\n  - id: x\n")
    with pytest.raises(InvalidRequest, match=r"models\.yaml:2"):
        merge(path, zoo)


def test_same_names_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b", "c/b"):
        put(tmp_path / "zoo" / folder / "same.gguf", model(folder))
    assert list(imported(tmp_path / "zoo")) == ["same", "b/same", "same-2"]


@pytest.mark.req("F-167")
@pytest.mark.parametrize(
    "name", ["line\nbreak.gguf", "-rf.gguf", "Ünï 模型: #x.gguf", "'\"{}[]&*!|>%@`.gguf", "auto.gguf"]
)
def test_odd_names_survive_the_file(tmp_path: Path, name: str) -> None:
    put(tmp_path / "zoo" / name, model("\x00odd\x1b[2J\nname"))
    imported(tmp_path / "zoo")
    (entry,) = read(tmp_path / "out.yaml").entries
    assert entry.config["model_path"] == str(tmp_path / "zoo" / name)
    assert entry.description.isprintable()
