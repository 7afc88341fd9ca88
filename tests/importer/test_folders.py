"""What is found in folders: files, split files, projectors, MLX models; and what they are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lanhaven.importer import Store
from lanhaven.types.models import ModelKind
from tests.formats.gguf_files import facts, gguf
from tests.importer.trees import hf, ids, looked, mlx, model, part, projector, put, reasons


@pytest.mark.req("S4-05")
def test_files_anywhere_below(tmp_path: Path) -> None:
    put(tmp_path / "Qwen2.5-7B-Instruct-Q4_K_M.gguf", model("one"))
    put(tmp_path / "a/b/model.gguf", model("two"))
    put(tmp_path / ".hidden/no.gguf", model("three"))
    put(tmp_path / "notes.txt", "nothing")
    found = looked(tmp_path)
    assert ids(found) == ["qwen2.5-7b-instruct-q4_k_m", "b-model"]
    first = found.found[0]
    assert first.named.aliases == ("qwen2.5-7b-instruct",)
    assert (first.format, first.quantization, first.max_context) == ("gguf", "Q4_K_M", 4096)
    assert first.path == tmp_path / "Qwen2.5-7B-Instruct-Q4_K_M.gguf"
    assert not found.left_out


def test_a_split_model_is_one(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"big-{number + 1:05}-of-00003.gguf", part(number, 3))
    found = looked(tmp_path)
    assert ids(found) == ["big"]
    assert found.found[0].path.name == "big-00001-of-00003.gguf"
    assert found.found[0].size_bytes == 3 * len(part(0, 3))


def test_a_split_model_in_the_hubs_cache_keeps_the_names_of_its_parts(tmp_path: Path) -> None:
    hf(tmp_path, "org/big-GGUF", {f"q4/big-{number + 1:05}-of-00002.gguf": part(number, 2) for number in range(2)})
    (found,) = looked(tmp_path).found
    assert found.path.name == "big-00001-of-00002.gguf"
    assert found.path.is_symlink()


def test_parts_that_are_missing(tmp_path: Path) -> None:
    put(tmp_path / "one-00001-of-00002.gguf", part(0, 2))
    put(tmp_path / "two-00002-of-00002.gguf", part(1, 2))
    found = looked(tmp_path)
    assert not found.found
    assert "one-00002-of-00002.gguf" in reasons(found)["one-00001-of-00002.gguf"]
    assert "first part is missing" in reasons(found)["two-00002-of-00002.gguf"]


@pytest.mark.req("S4-x4")
def test_a_projector_goes_with_the_model_that_it_fits(tmp_path: Path) -> None:
    put(tmp_path / "seer.gguf", model("seer"))
    put(tmp_path / "mmproj-seer-f16.gguf", projector())
    put(tmp_path / "wide.gguf", model("wide", embedding_length=128))
    put(tmp_path / "other/mmproj.gguf", projector(64, "lonely"))
    found = looked(tmp_path)
    by_id = {each.named.id: each for each in found.found}
    assert by_id["seer"].projector == tmp_path / "mmproj-seer-f16.gguf"
    assert (by_id["seer"].kind, by_id["seer"].sees) == (ModelKind.VLM, True)
    assert by_id["wide"].projector is None
    assert "projector" in reasons(found)["mmproj.gguf"]


def test_of_two_projectors_the_likelier(tmp_path: Path) -> None:
    put(tmp_path / "seer-7b.gguf", model("seer"))
    put(tmp_path / "mmproj-a.gguf", projector(name="a"))
    put(tmp_path / "mmproj-seer-7b.gguf", projector(name="b"))
    (found,) = looked(tmp_path).found
    assert found.projector == tmp_path / "mmproj-seer-7b.gguf"


def test_an_mlx_folder(tmp_path: Path) -> None:
    mlx(tmp_path / "Qwen2.5-Coder-1.5B-Instruct-4bit")
    (found,) = looked(tmp_path).found
    assert (found.named.id, found.format, found.quantization) == ("qwen2.5-coder-1.5b-instruct-4bit", "mlx", "4bit")
    assert found.path == tmp_path / "Qwen2.5-Coder-1.5B-Instruct-4bit"
    assert (found.chats, found.max_context) == (True, 2048)


def test_the_folder_itself_may_be_the_model(tmp_path: Path) -> None:
    assert ids(looked(mlx(tmp_path / "Own"))) == ["own"]


def test_mlx_without_quantization_is_known_by_the_header(tmp_path: Path) -> None:
    mlx(tmp_path / "half", {"torch_dtype": "float16"})
    mlx(tmp_path / "torch", {"torch_dtype": "float16"}, written_for="pt")
    found = looked(tmp_path)
    assert ids(found) == ["half"]
    assert "mlx_lm.convert" in reasons(found)["torch"]


def test_mlx_folders_that_cannot_be_taken(tmp_path: Path) -> None:
    (mlx(tmp_path / "mute") / "tokenizer.json").unlink()
    mlx(tmp_path / "encoder", {"model_type": "bert", "quantization": {"bits": 4}})
    (mlx(tmp_path / "headless") / "config.json").unlink()
    put(mlx(tmp_path / "broken") / "config.json", "{")
    put(tmp_path / "pickle/pytorch_model.bin", b"\x80")
    put(tmp_path / "pickle/config.json", "{}")
    found = looked(tmp_path)
    assert not found.found
    told = reasons(found)
    assert "tokenizer" in told["mute"]
    assert "encoder" in told["encoder"]
    assert "config.json" in told["headless"]
    assert "JSON" in told["broken"]


@pytest.mark.req("F-170")
def test_weights_that_can_run_code_are_told(tmp_path: Path) -> None:
    put(tmp_path / "pickle/pytorch_model.bin", b"\x80")
    put(tmp_path / "pickle/config.json", "{}")
    assert "can run code" in reasons(looked(tmp_path))["pickle"]


@pytest.mark.req("S4-x4")
def test_an_mlx_folder_that_sees(tmp_path: Path) -> None:
    mlx(tmp_path / "vl", {"vision_config": {}, "quantization": {"bits": 4}})
    (found,) = looked(tmp_path).found
    assert (found.sees, found.kind) == (True, ModelKind.VLM)
    assert "mlx-vision" in found.remarks[0]


def test_a_model_without_a_chat_template_is_told(tmp_path: Path) -> None:
    put(tmp_path / "base.gguf", gguf(facts("llama", context_length=64)))
    (found,) = looked(tmp_path).found
    assert "no chat template" in found.remarks[0]


@pytest.mark.parametrize("how", ["link", "hard link"])
def test_one_file_under_two_names_is_one_model(tmp_path: Path, how: str) -> None:
    first = put(tmp_path / "a.gguf", model())
    if how == "link":
        (tmp_path / "b.gguf").symlink_to(first)
    else:
        os.link(first, tmp_path / "b.gguf")
    (found,) = looked(tmp_path).found
    assert (found.named.id, found.named.aliases) == ("a", ("b",))


def test_lm_studios_store(tmp_path: Path) -> None:
    put(tmp_path / "lmstudio-community/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf", model())
    mlx(tmp_path / "mlx-community/Llama-3.2-3B-4bit")
    found = looked(tmp_path, Store.LMSTUDIO)
    assert ids(found) == ["lmstudio-community/qwen2.5-7b-instruct@q4_k_m", "mlx-community/llama-3.2-3b-4bit"]
    assert "qwen2.5-7b-instruct" in found.found[0].named.aliases
