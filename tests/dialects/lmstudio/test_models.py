"""Models in LM Studio's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.dialects.lmstudio.models import Facts, domain_of, facts_of, model_info
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind


def facts(key: str, path: str | None = None, **more: object) -> Facts:
    return facts_of(ModelInfo(key, "llama_cpp", path=Path(path) if path else None, **more))  # type: ignore[arg-type]


@pytest.mark.req("S2-23")
@pytest.mark.parametrize(
    ("key", "file", "publisher", "path"),
    [
        ("q", "/g/Models/lmstudio-community/Qwen3/q.gguf", "lmstudio-community", "lmstudio-community/Qwen3/q.gguf"),
        ("q", "/home/x/.lmstudio/models/Qwen/Qwen3-4B-GGUF/q.gguf", "Qwen", "Qwen/Qwen3-4B-GGUF/q.gguf"),
        ("q", "/h/hub/models--Qwen--Qwen3-4B/snapshots/0a/q.gguf", "Qwen", "Qwen/Qwen3-4B/q.gguf"),
        ("q", "/srv/q.gguf", "local", "local/q/q.gguf"),
        ("qwen/qwen3-4b", None, "qwen", "qwen/qwen3-4b/qwen3-4b"),
        ("a/b/c", None, "a", "a/b_c/c"),
        ("q", None, "local", "local/q/q"),
    ],
)
def test_the_path_names_publisher_repo_and_file_but_no_folder_of_this_machine(
    key: str, file: str | None, publisher: str, path: str
) -> None:
    found = facts(key, file)
    assert (found.publisher, found.path) == (publisher, path)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("Q4_K_M", 4),
        ("IQ2_XS", 2),
        ("MXFP4", 4),
        ("4bit", 4),
        ("BF16", 16),
        ("Q8_0", 8),
        ("UD-Q4_K_XL", 4),
        ("?", None),
    ],
)
def test_the_bits_of_a_quantization(name: str, bits: int | None) -> None:
    assert facts("q", quantization=name).bits == bits
    told = model_info(ModelInfo("q", "p", quantization=name))
    assert told.get("quantization") == (None if bits is None else {"name": name, "bits": bits})


@pytest.mark.parametrize(
    ("key", "params", "title"),
    [
        ("smollm2-135m-instruct", "135M", "Smollm2 135M Instruct"),
        ("mistral/mixtral-8x7b", "8X7B", "Mixtral 8X7B"),
        ("phi-3.5", None, "Phi 3.5"),
        ("qwen3-0.6b", "0.6B", "Qwen3 0.6B"),
    ],
)
def test_parameters_and_a_name_for_people_come_from_the_key(key: str, params: str | None, title: str) -> None:
    assert (facts(key).params, facts(key).display_name) == (params, title)


@pytest.mark.parametrize(
    ("known", "told"), [("gguf", "gguf"), ("mlx", "safetensors"), ("safetensors", "safetensors"), ("", "gguf")]
)
def test_formats_that_clients_know(known: str, told: str) -> None:
    assert model_info(ModelInfo("q", "p", format=known))["format"] == told


def test_what_is_known_of_a_model_is_told() -> None:
    info = ModelInfo("q", "p", architecture="qwen3", max_context=40960, capabilities=frozenset({"tools"}))
    told = model_info(info)
    assert (told["architecture"], told["maxContextLength"], told["trainedForToolUse"]) == ("qwen3", 40960, True)
    assert model_info(ModelInfo("q", "p", load=LoadConfig(context_length=99)))["maxContextLength"] == 99


def test_kinds() -> None:
    assert [domain_of(kind) for kind in ModelKind] == ["llm", "llm", "embedding", None]
