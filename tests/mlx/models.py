"""MLX model folders for tests: SmolLM2 out of its GGUF file, and a tiny one of random numbers with the same words.

A folder is made once; what it depends on stands in its name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from gguf import GGUFReader, dequantize

KEPT = Path(__file__).resolve().parents[2] / ".tools/mlx"
TOOLS_TEMPLATE = """{% if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}{# <tool_call> tool_call.name #}"""

PLAIN_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"

_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_WHOLE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def kept_smollm2(gguf: Path) -> Path:
    """SmolLM2 where the tests and measurements keep it; made anew when this file changes."""
    made_by = crc32(Path(__file__).read_bytes())
    folder = KEPT / f"smollm2-{made_by:08x}"
    if not folder.exists():
        for old in KEPT.glob("smollm2-????????"):
            shutil.rmtree(old, ignore_errors=True)
    return smollm2_mlx(gguf, folder)


def smollm2_mlx(gguf: Path, folder: Path) -> Path:
    """`folder` with SmolLM2 in bfloat16, which is the quickest form on a CPU."""
    if not (folder / "config.json").is_file():
        half = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _write(half, GGUFReader(gguf))
        try:
            half.rename(folder)
        except OSError:  # another process of the tests was quicker
            shutil.rmtree(half)
    return folder


def tiny_mlx(like: Path, folder: Path, **changes: Any) -> Path:
    """A model that says nonsense quickly: two layers, and the words of `like`. Keywords change its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(like / "tokenizer.json", folder / "tokenizer.json")
    words = json.loads((like / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(words | {"chat_template": TOOLS_TEMPLATE}))
    config = json.loads((like / "config.json").read_text())
    config |= {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "num_attention_heads": 2}
    config |= {"num_key_value_heads": 1, "max_position_embeddings": 512, "rope_theta": 10000.0}
    config |= changes
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", _random(config))
    return folder


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """As bfloat16: the upper halves of float32."""
    header: dict[str, Any] = {"__metadata__": {"format": "mlx"}}
    parts, at = [], 0
    for name, values in tensors.items():
        data = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def _random(config: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    numbers = np.random.default_rng(7)
    width, inner = config["hidden_size"], config["intermediate_size"]
    narrow = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (narrow, width),
        "self_attn.v_proj": (narrow, width),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    tensors = {"model.embed_tokens.weight": numbers.normal(0, 0.5, (config["vocab_size"], width))}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in shapes.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = numbers.normal(0, 0.3, shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = np.ones(width)
    return tensors | {"model.norm.weight": np.ones(width)}


def _write(folder: Path, reader: GGUFReader) -> None:
    def said(name: str) -> Any:
        return reader.fields[name].contents()

    heads, narrow = said("llama.attention.head_count"), said("llama.attention.head_count_kv")
    tensors = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        if (name := _WHOLE.get(tensor.name)) is None:
            _, layer, kind, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{_LAYER[kind]}.weight"
            values = _unturned(values, {"attn_q": heads, "attn_k": narrow}.get(kind))
        tensors[name] = values
    write_safetensors(folder / "model.safetensors", tensors)
    tokens = said("tokenizer.ggml.tokens")
    ends = {"bos_token_id": said("tokenizer.ggml.bos_token_id"), "eos_token_id": said("tokenizer.ggml.eos_token_id")}
    config = {
        "model_type": "llama",
        "hidden_size": said("llama.embedding_length"),
        "num_hidden_layers": said("llama.block_count"),
        "intermediate_size": said("llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": narrow,
        "rms_norm_eps": said("llama.attention.layer_norm_rms_epsilon"),
        "vocab_size": len(tokens),
        "rope_theta": said("llama.rope.freq_base"),
        "max_position_embeddings": said("llama.context_length"),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **ends,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(tokens, said)))
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[ends["bos_token_id"]],
        "eos_token": tokens[ends["eos_token_id"]],
        "chat_template": said("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(words))


def _unturned(values: np.ndarray[Any, Any], heads: int | None) -> np.ndarray[Any, Any]:
    """llama.cpp turns the rows of queries and keys about for its own kind of rotation."""
    if heads is None:
        return values
    parted = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return parted.swapaxes(1, 2).reshape(values.shape)


def _tokenizer(tokens: list[str], said: Any) -> dict[str, Any]:
    """As Hugging Face's tokenizers writes a byte-level BPE."""
    special = [token for token, kind in enumerate(said("tokenizer.ggml.token_type")) if kind == 3]
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token, "content": tokens[token], **plain} for token in special],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, bytewise],
        },
        "post_processor": None,
        "decoder": bytewise,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [pair.split(" ", 1) for pair in said("tokenizer.ggml.merges")],
        },
    }
