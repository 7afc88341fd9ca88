"""Load configs to LM Studio's keys and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.load_keys import DEFAULT_CONTEXT, KV_TYPES, config_fields, from_stack, to_fields
from lanhaven.types.models import LoadConfig

FULL = LoadConfig(
    context_length=8192,
    gpu_ratio=0.5,
    cpu_threads=4,
    rope_frequency_base=10000.0,
    rope_frequency_scale=0.5,
    slots=2,
    flash_attention=True,
    kv_type="q8_0",
    idle_ttl=60.0,
)


def stack(*layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"layers": [{"layerName": "apiOverride", "config": {"fields": fields}} for fields in layers]}


def values(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {field["key"]: field["value"] for field in fields}


@pytest.mark.req("S1-02", "S1-19", "S1-20", "S1-23")
def test_every_field_that_has_a_key_is_sent() -> None:
    fields, applied, _ = to_fields(FULL, embedding=False, layers=None)
    assert values(fields) == {
        "llm.load.contextLength": 8192,
        "llm.load.llama.acceleration.offloadRatio": 0.5,
        "llm.load.llama.ropeFrequencyBase": {"checked": True, "value": 10000.0},
        "llm.load.llama.ropeFrequencyScale": {"checked": True, "value": 0.5},
        "llm.load.numParallelSessions": 2,
        "llm.load.llama.flashAttention": True,
        "llm.load.llama.kCacheQuantizationType": {"checked": True, "value": "q8_0"},
        "llm.load.llama.vCacheQuantizationType": {"checked": True, "value": "q8_0"},
    }
    assert applied == {
        "contextLength": 8192,
        "gpu.ratio": 0.5,
        "ropeFrequencyBase": 10000.0,
        "ropeFrequencyScale": 0.5,
        "slots": 2,
        "flashAttention": True,
        "kvType": "q8_0",
    }


@pytest.mark.req("S1-22", "C14")
def test_what_has_no_key_is_ignored_with_a_reason() -> None:
    _, _, ignored = to_fields(FULL, embedding=False, layers=None)
    assert [key for key, _ in ignored] == ["cpuThreads"]
    assert all(reason for _, reason in ignored)
    _, _, ignored = to_fields(LoadConfig(kv_type="bf16"), embedding=False, layers=None)
    assert [key for key, _ in ignored] == ["kvType"]


@pytest.mark.req("S1-21", "C14")
@pytest.mark.parametrize(("wanted", "ratio", "used"), [(8, 0.25, 8), (32, 1.0, 32), (999, 1.0, 32), (0, 0.0, 0)])
def test_layers_become_a_ratio_where_their_number_is_known(wanted: int, ratio: float, used: int) -> None:
    config = LoadConfig(gpu_layers=wanted, gpu_ratio=0.9)
    fields, applied, ignored = to_fields(config, embedding=False, layers=32)
    assert values(fields) == {"llm.load.llama.acceleration.offloadRatio": ratio}
    assert applied == {"gpu.layers": used, "gpu.ratio": ratio}
    assert ignored == (("gpu.ratio", "gpu.layers wins"),)


@pytest.mark.req("C14")
def test_layers_are_ignored_where_their_number_is_not_known() -> None:
    fields, applied, ignored = to_fields(LoadConfig(gpu_layers=8, gpu_ratio=0.5), embedding=False, layers=None)
    assert values(fields) == {"llm.load.llama.acceleration.offloadRatio": 0.5}
    assert applied == {"gpu.ratio": 0.5}
    assert [key for key, _ in ignored] == ["gpu.layers"]


@pytest.mark.req("S1-45")
def test_a_load_without_gpu_says_so() -> None:
    fields, _, _ = to_fields(LoadConfig(gpu_ratio=0.0), embedding=False, layers=None)
    assert values(fields) == {"llm.load.llama.acceleration.offloadRatio": 0.0}


def test_embedding_models_have_fewer_keys() -> None:
    fields, applied, ignored = to_fields(FULL, embedding=True, layers=None)
    assert all(key.startswith("embedding.load.") for key in values(fields))
    assert set(applied) == {"contextLength", "gpu.ratio", "ropeFrequencyBase", "ropeFrequencyScale"}
    assert {key for key, _ in ignored} == {"cpuThreads", "slots", "flashAttention", "kvType"}


def test_a_silent_config_sends_nothing() -> None:
    assert to_fields(LoadConfig(), embedding=False, layers=12) == ([], {}, ())


configs = st.builds(
    LoadConfig,
    context_length=st.none() | st.integers(1, 1 << 24),
    gpu_ratio=st.none() | st.floats(0, 1),
    rope_frequency_base=st.none() | st.floats(0, 1e6),
    rope_frequency_scale=st.none() | st.floats(0, 10),
    slots=st.none() | st.integers(1, 256),
    flash_attention=st.none() | st.booleans(),
    kv_type=st.none() | st.sampled_from(sorted(KV_TYPES)),
)


@given(configs)
def test_what_is_sent_reads_back_the_same(config: LoadConfig) -> None:
    fields, _, _ = to_fields(config, embedding=False, layers=None)
    assert from_stack(stack(fields), embedding=False) == (config, ())


@given(configs)
def test_the_config_of_an_instance_reads_back_the_same(config: LoadConfig) -> None:
    context = config.context_length or DEFAULT_CONTEXT
    read, ignored = from_stack(stack(config_fields(config, embedding=False)), embedding=False)
    assert (read, ignored) == (replace(config, context_length=context), ())


@pytest.mark.parametrize("embedding", [True, False])
def test_the_config_of_an_instance_holds_its_context_length(embedding: bool) -> None:
    prefix = "embedding" if embedding else "llm"
    assert values(config_fields(LoadConfig(), embedding=embedding)) == {f"{prefix}.load.contextLength": 2048}


def test_a_later_layer_wins_and_null_says_nothing() -> None:
    key = "llm.load.contextLength"
    first, second = [{"key": key, "value": 1}], [{"key": key, "value": 2}]
    assert from_stack(stack(first, second), embedding=False)[0].context_length == 2
    assert from_stack(stack(first, [{"key": key, "value": None}]), embedding=False)[0].context_length is None


@pytest.mark.parametrize(("value", "ratio"), [("max", 1.0), ("off", 0.0), (1, 1.0), (0.25, 0.25)])
def test_a_ratio_may_be_a_word(value: object, ratio: float) -> None:
    fields = [{"key": "llm.load.llama.acceleration.offloadRatio", "value": value}]
    assert from_stack(stack(fields), embedding=False)[0].gpu_ratio == ratio


def test_an_unchecked_box_means_nothing() -> None:
    fields = [{"key": "llm.load.llama.ropeFrequencyBase", "value": {"checked": False, "value": 5.0}}]
    assert from_stack(stack(fields), embedding=False) == (LoadConfig(), ())


def test_unknown_keys_are_named_and_the_usual_split_of_gpus_is_not() -> None:
    split = {"customRatio": [], "disabledGpus": [], "priority": [], "strategy": "evenly"}
    fields = [{"key": "load.gpuSplitConfig", "value": split}, {"key": "llm.load.seed", "value": {"checked": True}}]
    config, ignored = from_stack(stack(fields), embedding=False)
    assert config == LoadConfig()
    assert [key for key, _ in ignored] == ["llm.load.seed"]
    fields = [{"key": "load.gpuSplitConfig", "value": {**split, "disabledGpus": [1]}}]
    assert [key for key, _ in from_stack(stack(fields), embedding=False)[1]] == ["load.gpuSplitConfig"]


def test_a_cache_of_two_types_is_read_by_its_keys_type() -> None:
    k, v = "llm.load.llama.kCacheQuantizationType", "llm.load.llama.vCacheQuantizationType"
    fields = [{"key": k, "value": {"checked": True, "value": "q8_0"}}]
    config, ignored = from_stack(stack([*fields, {"key": v, "value": {"checked": False}}]), embedding=False)
    assert (config.kv_type, [key for key, _ in ignored]) == ("q8_0", [v])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llm.load.contextLength", 0),
        ("llm.load.contextLength", "4096"),
        ("llm.load.contextLength", True),
        ("llm.load.contextLength", 1.5),
        ("llm.load.contextLength", float("inf")),
        ("llm.load.contextLength", 1 << 40),
        ("llm.load.llama.acceleration.offloadRatio", 1.5),
        ("llm.load.llama.acceleration.offloadRatio", "most"),
        ("llm.load.llama.acceleration.offloadRatio", []),
        ("llm.load.llama.ropeFrequencyBase", 5.0),
        ("llm.load.llama.ropeFrequencyBase", {"checked": True, "value": "x"}),
        ("llm.load.llama.flashAttention", "on"),
        ("llm.load.llama.kCacheQuantizationType", {"checked": True, "value": 8}),
        ("llm.load.numParallelSessions", -1),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_key(key: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        from_stack(stack([{"key": key, "value": value}]), embedding=False)
    assert caught.value.param == key


@pytest.mark.parametrize("empty", [None, {}, {"layers": []}, {"layers": None}, {"layers": [{"layerName": "x"}]}])
def test_an_empty_stack_says_nothing(empty: object) -> None:
    assert from_stack(empty, embedding=False) == (LoadConfig(), ())


@pytest.mark.parametrize(
    "broken",
    [
        [],
        ["x"],
        "x",
        7,
        {"layers": ["x"]},
        {"layers": 3},
        {"layers": [{"config": []}]},
        {"layers": [{"config": 1}]},
        {"layers": [{"config": {"fields": [3]}}]},
        {"layers": [{"config": {"fields": 3}}]},
        {"layers": [{"config": {"fields": [{"value": 3}]}}]},
    ],
)
def test_a_broken_stack_is_an_error(broken: object) -> None:
    with pytest.raises(InvalidRequest):
        from_stack(broken, embedding=False)
