"""The caches of Hugging Face and Ollama, and where stores are on a machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lanhaven.importer import Root, Store, known_stores
from tests.importer.trees import (
    IMAGE,
    blob,
    hf,
    ids,
    looked,
    mlx,
    model,
    ollama,
    ollama_new,
    projector,
    put,
    reasons,
)


def files_of(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.req("S4-06", "S4-x2")
def test_the_hubs_cache(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    hf(cache, "bartowski/Tiny-GGUF", {"Tiny-Q4_K_M.gguf": model("a"), "Tiny-Q8_0.gguf": model("b", 7)})
    hf(cache, "mlx-community/Qwen2.5-0.5B-4bit", files_of(mlx(tmp_path / "made")))
    put(cache / "datasets--x--y/snapshots/1/data.json", "{}")
    found = looked(cache, Store.HF_CACHE)
    assert ids(found) == [
        "bartowski/Tiny-GGUF:Q4_K_M",
        "bartowski/Tiny-GGUF:Q8_0",
        "mlx-community/Qwen2.5-0.5B-4bit",
    ]
    assert [each.store for each in found.found] == [Store.HF_CACHE] * 3
    assert found.found[0].path.parent.name == "blobs"  # without links, F-168
    assert found.found[2].named.aliases == ("qwen2.5-0.5b-4bit",)
    assert not found.left_out


def test_of_several_snapshots_the_one_that_main_names(tmp_path: Path) -> None:
    hf(tmp_path, "o/n", {"x-Q4_K_M.gguf": model("new")}, "b" * 40)
    hf(tmp_path, "o/n", {"x-Q4_K_M.gguf": model("old")}, "c" * 40, main=False)
    (found,) = looked(tmp_path).found
    assert found.title == "new"


def test_without_refs_the_newest_snapshot(tmp_path: Path) -> None:
    for age, title in ((2000, "new"), (1000, "old")):
        folder = hf(tmp_path, "o/n", {"x.gguf": model(title)}, f"{title}-revision", main=False)
        os.utime(folder / "snapshots" / f"{title}-revision", (age, age))
    (found,) = looked(tmp_path).found
    assert found.title == "new"


def test_a_ref_that_leads_elsewhere(tmp_path: Path) -> None:
    folder = hf(tmp_path / "cache", "o/n", {"x.gguf": model("inside")})
    put(folder / "refs/main", "../../../outside")
    put(tmp_path / "outside/y.gguf", model("outside"))
    assert [each.title for each in looked(tmp_path / "cache").found] == ["inside"]


def test_a_download_that_was_not_finished(tmp_path: Path) -> None:
    folder = hf(tmp_path, "o/n", {"x.gguf": model()})
    next((folder / "blobs").iterdir()).unlink()
    (tmp_path / "models--o--empty").mkdir()
    (tmp_path / "models--o--empty/snapshots").mkdir()
    found = looked(tmp_path)
    assert not found.found
    assert "link to nothing" in reasons(found)["x.gguf"]
    assert "no snapshot" in reasons(found)["models--o--empty"]


@pytest.mark.parametrize("below", ["", "snapshots", "snapshots/" + "a" * 40])
def test_a_folder_within_a_repository_is_enough(tmp_path: Path, below: str) -> None:
    folder = hf(tmp_path, "o/n", {"x-Q4_K_M.gguf": model()})
    assert ids(looked(folder / below)) == ["o/n:Q4_K_M"]


def test_ollamas_store_old_and_new(tmp_path: Path) -> None:
    ollama(tmp_path, "llama3.2:3b", {"model": model("old")})
    ollama(tmp_path, "me/own:latest", {"model": model("mine")})
    ollama(tmp_path, "bartowski/x:Q4", {"model": model("from hub")}, host="hf.co")
    ollama_new(tmp_path, "qwen3:8b", {"model": model("new")})
    found = looked(tmp_path, Store.OLLAMA)
    assert ids(found) == ["qwen3:8b", "hf.co/bartowski/x:Q4", "llama3.2:3b", "me/own:latest"]
    assert all(each.path.name.startswith("sha256-") for each in found.found)
    assert not found.left_out


def test_a_name_in_both_trees_is_read_once(tmp_path: Path) -> None:
    ollama_new(tmp_path, "tiny:1b", {"model": model("new")})
    ollama(tmp_path, "tiny:1b", {"model": model("old")})
    (found,) = looked(tmp_path).found
    assert found.title == "new"


def test_two_tags_of_one_blob(tmp_path: Path) -> None:
    ollama(tmp_path, "tiny:1b", {"model": model()})
    ollama(tmp_path, "tiny:latest", {"model": model()})
    (found,) = looked(tmp_path).found
    assert (found.named.id, found.named.aliases) == ("tiny:1b", ("tiny:latest",))


def test_what_ollama_knows_of_a_model_comes_along(tmp_path: Path) -> None:
    params = {"temperature": 0.6, "stop": ["<end>"], "num_ctx": 2048, "num_predict": -1, "top_p": 7, "mirostat": 1}
    layers = {"model": model(), "projector": projector(), "params": json.dumps(params), "system": "Be kind."}
    ollama(tmp_path, "seer:7b", layers)
    (found,) = looked(tmp_path).found
    assert dict(found.said) == {"temperature": 0.6, "stop": ["<end>"]}
    assert (found.context, found.sees) == (2048, True)
    assert any("system prompt" in remark for remark in found.remarks)


def test_ollama_models_that_cannot_be_taken(tmp_path: Path) -> None:
    ollama(tmp_path, "tensors:1", {"tensor": b"x"})
    ollama(tmp_path, "adapted:1", {"model": model("base"), "adapter": b"x"})
    ollama(tmp_path, "half:1", {"model": b"GGUF"})
    ollama(tmp_path, "blind:1", {"model": projector(name="only")})
    put(tmp_path / "manifests/registry.ollama.ai/library/broken/1", "{")
    escape = json.dumps({"layers": [{"mediaType": IMAGE + "model", "digest": "sha256:../../../etc/passwd"}]})
    put(tmp_path / "manifests/registry.ollama.ai/library/escape/1", escape)
    gone = json.dumps({"layers": [{"mediaType": IMAGE + "model", "digest": "sha256:" + "0" * 64}]})
    put(tmp_path / "manifests/registry.ollama.ai/library/gone/1", gone)
    found = looked(tmp_path)
    assert not found.found
    told = " ".join(each.reason for each in found.left_out)
    for text in (
        "tensors:1: kept as single tensors",
        "adapted:1: an adapter",
        "half:1: its file",
        "blind:1: its file is a pro",
    ):
        assert text in told
    for text in ("damaged manifest", "escape:1: its file", "gone:1: its file"):
        assert text in told


def test_a_projector_of_another_model_is_left_out(tmp_path: Path) -> None:
    ollama(tmp_path, "odd:1", {"model": model(), "projector": projector(999)})
    found = looked(tmp_path)
    assert found.found[0].projector is None
    assert "does not fit" in found.left_out[0].reason


@pytest.mark.req("S4-x2")
def test_where_stores_are(tmp_path: Path) -> None:
    for name in (".cache/huggingface/hub", "Library/Caches/huggingface/hub", ".huggingface/hub", ".ollama/models"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".lmstudio/models", ".cache/lm-studio/models", "big/lm", "big/hf/hub", "big/ollama"):
        (tmp_path / name).mkdir(parents=True)
    put(tmp_path / ".lmstudio/settings.json", json.dumps({"downloadsFolder": str(tmp_path / "big/lm")}))
    variables = {"HF_HOME": str(tmp_path / "big/hf"), "OLLAMA_MODELS": str(tmp_path / "big/ollama")}
    known = known_stores(variables, tmp_path)
    assert [root for root in known if root.path.is_relative_to(tmp_path)] == [
        Root(tmp_path / "big/lm", Store.LMSTUDIO),
        Root(tmp_path / ".lmstudio/models", Store.LMSTUDIO),
        Root(tmp_path / ".cache/lm-studio/models", Store.LMSTUDIO),
        Root(tmp_path / "big/ollama", Store.OLLAMA),
        Root(tmp_path / ".ollama/models", Store.OLLAMA),
        Root(tmp_path / "big/hf/hub", Store.HF_CACHE),
        Root(tmp_path / ".cache/huggingface/hub", Store.HF_CACHE),
        Root(tmp_path / "Library/Caches/huggingface/hub", Store.HF_CACHE),
        Root(tmp_path / ".huggingface/hub", Store.HF_CACHE),
    ]


def test_lm_studio_in_another_home(tmp_path: Path) -> None:
    (tmp_path / "elsewhere/models").mkdir(parents=True)
    put(tmp_path / ".lmstudio-home-pointer", f"{tmp_path}/elsewhere\n")
    put(tmp_path / "elsewhere/settings.json", "no JSON")
    assert Root(tmp_path / "elsewhere/models", Store.LMSTUDIO) in known_stores({}, tmp_path)


def test_a_digest_with_another_spelling_is_known(tmp_path: Path) -> None:
    digest = blob(tmp_path, model()).replace(":", "-")
    manifest = json.dumps({"layers": [{"mediaType": IMAGE + "model", "digest": digest}]})
    put(tmp_path / "manifests/registry.ollama.ai/library/odd/1", manifest)
    assert ids(looked(tmp_path)) == ["odd:1"]
