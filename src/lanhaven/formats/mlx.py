"""What an MLX model folder holds: config.json, headers of its safetensors files, its chat template; no weights.

Layout: https://huggingface.co/docs/transformers/main_classes/configuration and mlx-lm's `load_model` (0.32).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from lanhaven.formats.gguf_source import Reason, bad, open_regular
from lanhaven.formats.safetensors import read_safetensors, written_format

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tiktoken.model")
TEXT_LIMIT = 64 << 20  # bytes of a JSON file: an index of a thousand tensors has 0.1 MB, a template 20 kB
# Model types that turn texts into vectors: mlx-lm has none of them.
ENCODERS = frozenset(
    {"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "modernbert", "nomic_bert", "t5", "electra", "deberta-v2"}
)
# By which mlx-lm recognizes a template whose tool calls it can read (mlx_lm/tokenizer_utils.py, _infer_tool_parser).
TOOL_MARKS = (
    "<minimax:tool_call>",
    "<|tool_call>",
    "<start_function_call>",
    "<longcat_tool_call>",
    "<arg_key>",
    "<|tool_list_start|>",
    "<|tool_call_start|>",
    "<tool_call>",
    "<|tool_calls_section_begin|>",
    '<function name="',
    "[TOOL_CALLS]",
    "<atem:function_calls>",
)
POOLINGS: Mapping[str, str] = MappingProxyType({"pooling_mode_lasttoken": "last", "pooling_mode_mean_tokens": "mean"})
REWRITTEN = frozenset({"F8_E8M0"})  # mlx_vlm/utils.py, SAFETENSORS_DTYPE_FALLBACKS
_DTYPES: Mapping[str, str] = MappingProxyType({"bfloat16": "BF16", "float16": "F16", "float32": "F32"})


@dataclass(frozen=True, slots=True)
class MLXModel:
    """kv_values: numbers that a token leaves in the KV cache, over all layers, windowed and recurrent ones counted as
    if they were not. head_length: numbers of a head, None where they share one row. sees: there is a vision part.
    rewritten: it has weights that mlx-vlm changes in the file to read them. converted: MLX wrote it, by its own marks.
    tokenizes: its tokenizer is there. pooling: how a text's vector is made of it ("last", "mean"), where it is made for
    embeddings and built like models that write; encodes: it is made for them in a way that mlx-lm does not know."""

    path: Path
    architecture: str
    layers: int | None
    max_context: int | None
    quantization: str | None
    size_bytes: int
    kv_values: int
    head_length: int | None
    vocabulary: int
    sees: bool
    rewritten: bool
    encodes: bool
    pooling: str | None
    chats: bool
    calls_tools: bool
    converted: bool
    tokenizes: bool
    parts: tuple[Path, ...]


def describe_mlx(folder: Path) -> MLXModel:
    """InvalidModelFile for everything that is wrong with the folder, without its path."""
    if folder.is_file():
        raise bad(Reason.NOT_REGULAR, "An MLX model is a folder with config.json and safetensors files, not a file.")
    if not folder.is_dir():
        raise bad(Reason.MISSING, "There is no such model folder.")
    config = _json(folder / "config.json", "The model folder has no config.json.")
    inner = config.get("text_config")
    text: Mapping[str, Any] = {**config, **inner} if isinstance(inner, dict) else config
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or not architecture:
        raise bad(Reason.MALFORMED, "The model's config.json does not say what it is (model_type).")
    parts = _parts(folder)
    tensors = [tensor for part in parts for tensor in read_safetensors(part).values()]
    template = _template(folder)
    return MLXModel(
        path=folder,
        architecture=architecture,
        layers=_number(text, "num_hidden_layers", "n_layers", "n_layer"),
        max_context=_number(text, "max_position_embeddings", "n_positions", "max_seq_len"),
        quantization=_quantization(config, text),
        size_bytes=sum(tensor.size for tensor in tensors),
        kv_values=_kv_values(text),
        head_length=_head_length(text),
        vocabulary=_number(text, "vocab_size") or 0,
        sees=isinstance(config.get("vision_config"), dict),
        rewritten=any(tensor.dtype in REWRITTEN for tensor in tensors),
        encodes=architecture in ENCODERS or text.get("use_bidirectional_attention") is True,
        pooling=_pooling(folder),
        chats=template is not None,
        calls_tools=template is not None and "tools" in template and any(mark in template for mark in TOOL_MARKS),
        converted=isinstance(config.get("quantization"), dict) or written_format(parts[0]) == "mlx",
        tokenizes=any((folder / name).is_file() for name in TOKENIZERS),
        parts=parts,
    )


def _pooling(folder: Path) -> str | None:
    """As sentence-transformers note it. mlx_lm.convert leaves that out: then the name tells, and the last token counts,
    as in Qwen3-Embedding, E5-Mistral and GTE-Qwen2."""
    path = folder / "1_Pooling/config.json"
    if path.is_file():
        said = _json(path, "")
        return next((pooling for name, pooling in POOLINGS.items() if said.get(name) is True), None)
    cached = folder.parent.name == "snapshots"  # of Hugging Face's cache: the repository's folder has the name
    return "last" if "embedding" in (folder.parent.parent if cached else folder).name.lower() else None


def _json(path: Path, missing: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(_bytes(path, missing))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad(Reason.MALFORMED, f"The model's {path.name} is no JSON.") from None
    if not isinstance(value, dict):
        raise bad(Reason.MALFORMED, f"The model's {path.name} is no JSON object.")
    return value


def _bytes(path: Path, missing: str) -> bytes:
    """A whole file of the folder, within bounds."""
    try:
        with open_regular(path) as file:
            data = file.read(TEXT_LIMIT + 1) or b""
    except FileNotFoundError:
        raise bad(Reason.MISSING, missing) from None
    except OSError as error:
        raise bad(Reason.UNREADABLE, f"The model's {path.name} cannot be read: {error.strerror}.") from None
    if len(data) > TEXT_LIMIT:
        raise bad(Reason.OVER_LIMIT, f"The model's {path.name} has more than {TEXT_LIMIT} bytes.")
    return data


def _parts(folder: Path) -> tuple[Path, ...]:
    """The weight files. An index names them all: a missing one is found here, where mlx-lm would load what is there."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = _json(index, "").get("weight_map")
        if not isinstance(names, dict):
            raise bad(Reason.MALFORMED, "The index of the weight files is damaged.")
        parts = tuple(folder / name for name in sorted(_plain_names(names.values())))
        for part in parts:
            if not part.is_file():
                raise bad(Reason.SPLIT_MISSING, f"A weight file of the model is missing: {part.name}.", part=part.name)
    else:
        parts = tuple(sorted(folder.glob("model*.safetensors")))
    if not parts:
        hint = " It holds a GGUF file: that is for the provider llama_cpp." if any(folder.glob("*.gguf")) else ""
        raise bad(Reason.MISSING, f"The model folder has no model*.safetensors.{hint}")
    return parts


def _plain_names(values: Iterable[object]) -> set[str]:
    names = {value for value in values if isinstance(value, str) and value == Path(value).name}
    if not names or any(not isinstance(value, str) or value not in names for value in values):
        raise bad(Reason.MALFORMED, "The index of the weight files names something else than files beside it.")
    return names


def _template(folder: Path) -> str | None:
    """The chat template, where mlx-lm's tokenizer finds it: a file of its own wins."""
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        if path.suffix == ".jinja":
            return _bytes(path, "").decode(errors="replace")
        value = _json(path, "").get("chat_template")
        if isinstance(value, list):  # several, by name
            value = "".join(str(each.get("template")) for each in value if isinstance(each, dict))
        if isinstance(value, str) and value:
            return value
    return None


def _number(config: Mapping[str, Any], *names: str) -> int | None:
    return next((config[name] for name in names if type(config.get(name)) is int and config[name] > 0), None)


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> str | None:
    """ "4bit" as the names of MLX models have it, else the type of the weights."""
    given = config.get("quantization") or config.get("quantization_config")
    if isinstance(given, dict) and type(given.get("bits")) is int:
        return f"{given['bits']}bit"
    dtype = text.get("torch_dtype") or text.get("dtype")
    return _DTYPES.get(dtype) if isinstance(dtype, str) else None


def _head_length(text: Mapping[str, Any]) -> int | None:
    """None where heads share what is kept of a token."""
    if _number(text, "kv_lora_rank"):
        return None
    width = _number(text, "hidden_size", "n_embd", "d_model")
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    return _number(text, "head_dim") or (width // heads if width and heads else None)


def _kv_values(text: Mapping[str, Any]) -> int:
    heads = _number(text, "num_attention_heads", "n_head", "n_heads") or 1
    width = _number(text, "hidden_size", "n_embd", "d_model") or 0
    kept = _number(text, "num_key_value_heads") or heads
    length = _number(text, "head_dim") or width // heads
    if latent := _number(text, "kv_lora_rank"):  # multi-head latent attention keeps one compressed row per token
        return (latent + (_number(text, "qk_rope_head_dim") or 0)) * (_number(text, "num_hidden_layers") or 1)
    return 2 * kept * length * (_number(text, "num_hidden_layers", "n_layers", "n_layer") or 1)
