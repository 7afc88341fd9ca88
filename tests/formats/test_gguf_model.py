"""What a header says of a model: kind, capabilities, quantization, parts, projectors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.ggml import FILE_TYPES, TENSOR_TYPES
from lanhaven.formats.gguf_cache import HeaderCache
from lanhaven.formats.gguf_model import GGUFModel, describe_gguf
from lanhaven.formats.gguf_source import Reason
from lanhaven.formats.gguf_split import is_later_part
from lanhaven.types.models import ModelKind
from tests.formats.gguf_files import TEXT, U16, U32, array, facts, field, gguf, put, tensor


def described(folder: Path, fields: Mapping[str, bytes]) -> GGUFModel:
    return describe_gguf(put(folder, gguf(fields)))


def test_a_chat_model(smollm2: Path) -> None:
    model = describe_gguf(smollm2)
    assert (model.kind, model.architecture, model.quantization) == (ModelKind.LLM, "llama", "Q4_1")
    assert (model.layers, model.max_context, model.embedding_length) == (30, 8192, 576)
    assert (model.parameters, model.size_bytes, model.file_bytes) == (134_515_008, 96_576_768, 98_362_432)
    assert model.capabilities == {"chat", "completion"}
    assert model.parts == (smollm2,)
    assert model.license == "apache-2.0"
    assert model.chat_template is not None
    assert "<|im_start|>" in model.chat_template


def test_an_embedding_model(minilm: Path) -> None:
    model = describe_gguf(minilm)
    assert (model.kind, model.pooling, model.quantization) == (ModelKind.EMBEDDING, "mean", "F32")
    assert (model.layers, model.max_context, model.embedding_length) == (6, 512, 384)
    assert model.capabilities == {"embedding"}


@pytest.mark.parametrize(
    ("architecture", "numbers", "kind"),
    [
        ("llama", {}, ModelKind.LLM),
        ("bert", {}, ModelKind.EMBEDDING),
        ("nomic-bert", {"pooling_type": 1}, ModelKind.EMBEDDING),
        ("qwen3", {"pooling_type": 3}, ModelKind.EMBEDDING),
        ("llama", {"pooling_type": 0}, ModelKind.LLM),
        ("bert", {"pooling_type": 4}, ModelKind.RERANKER),
        ("qwen3", {"pooling_type": 4}, ModelKind.RERANKER),
        ("llama", {"attention__causal": False}, ModelKind.EMBEDDING),
        ("llama", {"attention__causal": True}, ModelKind.LLM),
        ("dream", {"attention__causal": False}, ModelKind.LLM),
        ("clip", {}, None),
    ],
)
def test_the_kind(tmp_path: Path, architecture: str, numbers: dict[str, int], kind: ModelKind | None) -> None:
    assert described(tmp_path, facts(architecture, **numbers)).kind is kind


def test_a_head_that_gives_scores_makes_a_reranker(tmp_path: Path) -> None:
    model = describe_gguf(put(tmp_path, gguf(facts("bert"), [tensor("cls.output.weight", [8])], data=bytes(32))))
    assert (model.kind, model.capabilities) == (ModelKind.RERANKER, {"rerank"})
    pooled = facts("bert", pooling_type=1)
    assert (
        describe_gguf(put(tmp_path, gguf(pooled, [tensor("cls.output.weight", [8])], data=bytes(32)))).kind
        is ModelKind.EMBEDDING
    )


@pytest.mark.parametrize(
    ("fields", "capabilities"),
    [
        ({}, {"completion"}),
        ({"tokenizer.chat_template": field(TEXT, "{{ messages }}")}, {"completion", "chat"}),
        ({"tokenizer.chat_template": field(TEXT, "{% if tools %}")}, {"completion", "chat", "tools"}),
        ({"tokenizer.chat_template": field(TEXT, "{# toolset #}")}, {"completion", "chat"}),
        (
            {
                "tokenizer.chat_template": field(TEXT, "{{ messages }}"),
                "tokenizer.chat_template.tool_use": field(TEXT, "{{ x }}"),
            },
            {"completion", "chat", "tools"},
        ),
        ({"tokenizer.chat_template": field(U32, 1)}, {"completion"}),
        ({"tokenizer.ggml.fim_pre_token_id": field(U32, 7)}, {"completion", "infill"}),
    ],
)
def test_capabilities(tmp_path: Path, fields: dict[str, bytes], capabilities: set[str]) -> None:
    assert described(tmp_path, {**facts(), **fields}).capabilities == capabilities


def test_a_file_without_architecture_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelFile) as caught:
        described(tmp_path, {"general.name": field(TEXT, "x")})
    assert caught.value.facts["reason"] == Reason.MALFORMED


def test_layers_are_bounded(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelFile) as caught:
        described(tmp_path, facts(block_count=1 << 31))
    assert caught.value.facts["reason"] == Reason.OVER_LIMIT


@pytest.mark.parametrize(
    ("file_type", "name"),
    [(3, "Q4_1"), (15, "Q4_K_M"), (1, "F16"), (38, "MXFP4_MOE"), (1024 + 7, "Q8_0"), (999, "Q8_0")],
)
def test_the_quantization(tmp_path: Path, file_type: int, name: str) -> None:
    tensors = [tensor("a", [32, 100], 8), tensor("b", [32, 10], 0, offset=3424)]
    raw = gguf({**facts(), "general.file_type": field(U32, file_type)}, tensors, data=bytes(5000))
    assert describe_gguf(put(tmp_path, raw)).quantization == name


def test_the_tables_are_those_of_the_reference() -> None:
    import gguf as reference

    sizes = {int(kind): size for kind, size in reference.GGML_QUANT_SIZES.items()}
    wrong_there = {9}  # Q8_1 holds two F16 since ggml 2024, 36 bytes; the package still says 40
    assert {
        kind: (block, size) for kind, (_, block, size) in TENSOR_TYPES.items() if kind in sizes.keys() - wrong_there
    } == {kind: size for kind, size in sizes.items() if kind not in wrong_there}
    assert {kind: name for kind, (name, _, _) in TENSOR_TYPES.items() if kind in sizes} == {
        int(kind): kind.name for kind in reference.GGML_QUANT_SIZES
    }
    names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in reference.LlamaFileType}
    assert names.items() - {(1024, "GUESSED")} <= FILE_TYPES.items()


# ---- split files --------------------------------------------------------------------------------------------------


def part(number: int, count: int, name: str) -> bytes:
    fields = {**(facts(block_count=1) if number == 0 else {})}
    fields |= {"split.no": field(U16, number), "split.count": field(U16, count)}
    return gguf(fields, [tensor(name, [8])], data=bytes(32))


def split_model(folder: Path, count: int = 3) -> list[Path]:
    return [put(folder, part(n, count, f"t{n}"), f"big-{n + 1:05}-of-{count:05}.gguf") for n in range(count)]


def reason(path: Path) -> object:
    with pytest.raises(InvalidModelFile) as caught:
        describe_gguf(path)
    return caught.value.facts["reason"]


def test_parts_are_added_up(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    model = describe_gguf(paths[0])
    assert model.parts == tuple(paths)
    assert (model.size_bytes, model.parameters) == (96, 24)
    assert model.file_bytes == sum(path.stat().st_size for path in paths)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    paths[1].unlink()
    with pytest.raises(InvalidModelFile, match=r"1 of the 3 files are missing: big-00002-of-00003\.gguf") as caught:
        describe_gguf(paths[0])
    assert caught.value.facts["reason"] == Reason.SPLIT_MISSING


def test_a_later_part_is_no_model(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    assert reason(paths[2]) == Reason.SPLIT_PART
    assert [is_later_part(path) for path in paths] == [False, True, True]
    assert not is_later_part(Path("model-00002.gguf"))


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    put(tmp_path, part(1, 4, "x"), paths[1].name)
    assert reason(paths[0]) == Reason.SPLIT_MISMATCH
    put(tmp_path, part(2, 3, "x"), paths[1].name)
    assert reason(paths[0]) == Reason.SPLIT_MISMATCH
    assert reason(paths[0].rename(tmp_path / "renamed.gguf")) == Reason.SPLIT_MISMATCH


def test_a_damaged_part_spoils_the_model(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    os.truncate(paths[2], 40)
    assert reason(paths[0]) == Reason.TRUNCATED


def test_more_parts_than_anybody_makes(tmp_path: Path) -> None:
    assert reason(put(tmp_path, part(0, 60_000, "t"), "big-00001-of-60000.gguf")) == Reason.OVER_LIMIT


def test_a_model_written_by_the_reference_in_parts(tmp_path: Path) -> None:
    import gguf as reference
    import numpy as np

    writer = reference.GGUFWriter(tmp_path / "made.gguf", "llama", split_max_tensors=2)
    writer.add_block_count(2)
    for number in range(5):
        writer.add_tensor(f"t{number}", np.zeros((2, 16), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = describe_gguf(tmp_path / "made-00001-of-00003.gguf")
    assert (len(model.parts), model.layers, model.size_bytes) == (3, 2, 5 * 128)


# ---- projectors ---------------------------------------------------------------------------------------------------


def test_a_projector_fits_models_of_its_width(tmp_path: Path) -> None:
    eyes = {"clip.has_vision_encoder": field(7, True), "clip.vision.projection_dim": field(U32, 576)}
    projector = described(tmp_path, {**facts("clip"), **eyes})
    assert (projector.kind, projector.projects_to, projector.sees, projector.hears) == (None, 576, True, False)
    assert projector.capabilities == frozenset()
    model = described(tmp_path, facts(embedding_length=576))
    assert model.pairs_with(projector)
    assert not described(tmp_path, facts(embedding_length=640)).pairs_with(projector)
    assert not described(tmp_path, facts("bert", embedding_length=576)).pairs_with(projector)
    assert not model.pairs_with(model)
    assert not described(tmp_path, facts()).pairs_with(described(tmp_path, facts("clip")))


# ---- shapes -------------------------------------------------------------------------------------------------------


def values(model: GGUFModel) -> list[tuple[int, bool]]:
    return [(layer.values, layer.windowed) for layer in model.shape.layers]


WIDTH = {"embedding_length": 64, "attention__head_count": 4}


@pytest.mark.parametrize(
    ("architecture", "numbers", "expected"),
    [
        ("llama", {"attention__head_count_kv": 2}, [(64, False)] * 4),
        ("llama", {}, [(128, False)] * 4),  # without KV heads: all heads
        ("llama", {"attention__head_count_kv": [1, 2]}, [(32, False), (64, False), (64, False), (64, False)]),
        ("llama", {"attention__key_length": 10, "attention__value_length": 5}, [(60, False)] * 4),
        ("gemma2", {}, [(128, True), (128, False)] * 2),
        ("gpt-oss", {"attention__sliding_window": 8}, [(128, True), (128, False)] * 2),
        ("gemma3", {}, [(128, False)] * 4),
        ("gemma3", {"attention__sliding_window": 8}, [(128, True)] * 4),
        (
            "gemma4",
            {
                "attention__sliding_window": 8,
                "attention__sliding_window_pattern": [1, 0, 1, 0],
                "attention__key_length_swa": 4,
            },
            [(80, True), (128, False)] * 2,
        ),
        (
            "mistral3",
            {"attention__sliding_window": 8, "attention__sliding_window_pattern": 2},
            [(128, True), (128, False)] * 2,
        ),
        ("mistral3", {"attention__sliding_window": 8}, [(128, False)] * 4),  # unknown which layers: all
        ("gemma3n", {"attention__shared_kv_layers": 3}, [(128, False)]),
        ("qwen3next", {}, [(0, False)] * 3 + [(128, False)]),
        ("bert", {}, []),
        ("llama", {"attention__causal": False}, []),
    ],
)
def test_what_the_layers_keep(
    tmp_path: Path, architecture: str, numbers: dict[str, int | list[int]], expected: list[tuple[int, bool]]
) -> None:
    assert values(described(tmp_path, facts(architecture, block_count=4, **{**WIDTH, **numbers}))) == expected


def test_recurrent_layers_keep_a_state(tmp_path: Path) -> None:
    mamba = {"ssm__conv_kernel": 4, "ssm__inner_size": 128, "ssm__state_size": 16, "ssm__group_count": 1}
    hybrid = {**WIDTH, "attention__head_count_kv": [0, 0, 2, 0]}
    model = described(tmp_path, facts("granitehybrid", block_count=4, **hybrid, **mamba))
    assert model.shape.state_values == 3 * (3 * (128 + 2 * 16) + 16 * 128)
    shift = described(tmp_path, facts("lfm2", block_count=4, **hybrid, shortconv__l_cache=3))
    assert shift.shape.state_values == 3 * 64 * 2
    rwkv = described(tmp_path, facts("rwkv7", block_count=2, embedding_length=64, wkv__head_size=8))
    assert rwkv.shape.state_values == 2 * (2 * 64 + 64 * 8)


def test_experts_widen_a_model(tmp_path: Path) -> None:
    numbers = {"feed_forward_length": 100, "expert_used_count": 4, "expert_feed_forward_length": 50}
    shape = described(tmp_path, facts(block_count=1, **numbers)).shape
    assert (shape.feed_forward, shape.experts_used) == (200, 4)


# ---- cache --------------------------------------------------------------------------------------------------------


def test_the_cache_reads_a_file_once_until_it_changes(tmp_path: Path) -> None:
    cache = HeaderCache()
    path = put(tmp_path, gguf(facts(block_count=1)))
    first = cache.read(path)
    assert cache.read(path) is first
    put(tmp_path, gguf(facts(block_count=2)))
    os.utime(path, ns=(1, 1))
    assert cache.read(path).integer("llama.block_count") == 2
    assert describe_gguf(path, cache.read).layers == 2


def test_the_cache_keeps_no_more_than_its_capacity(tmp_path: Path) -> None:
    cache = HeaderCache(capacity=2)
    paths = [put(tmp_path, gguf({"n": array(U32, [n])}), f"{n}.gguf") for n in range(3)]
    headers = [cache.read(path) for path in paths]
    assert len(cache) == 2
    assert cache.read(paths[2]) is headers[2]
    assert cache.read(paths[0]) is not headers[0]


def test_the_cache_tells_what_is_wrong(tmp_path: Path) -> None:
    cache = HeaderCache()
    path = put(tmp_path, b"")
    for wrong in (path, tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidModelFile):
            cache.read(wrong)
    put(tmp_path, gguf(facts()))
    assert cache.read(path).text("general.architecture") == "llama"
