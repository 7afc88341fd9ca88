"""A model that sees, in 7 MB: SmolVLM's architecture with the words of SmolLM2, and eyes for three colours.

Its vision part gives a patch's mean colour and nothing else; its only layer looks at all tokens alike, and what it
finds there of red, green and blue makes these words likely. Everything else in it is noise. So what it says is what it
was shown, and takes no time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from lanhaven.types.models import Upstream
from tests.media.pictures import asking, data_uri, picture
from tests.mlx.models import write_safetensors
from tests.providers.llamacpp.llama import ask

CHAT = "/v1/chat/completions"
COLORS = ("red", "green", "blue")
SIZE, PATCH, WIDTH = 56, 14, 32
SCALE = SIZE // PATCH  # all patches of a picture become one token
HIDDEN, FREE = 64, 8  # of the language part; texts leave the first values free
MARKS = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}: \
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{% if part.type == "image" %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"""
_PIXELS = {
    "image_processor_type": "SmolVLMImageProcessor",
    "do_image_splitting": False,
    "size": {"longest_edge": SIZE},
    "max_image_size": {"longest_edge": SIZE},
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
}
Arrays = dict[str, np.ndarray[Any, Any]]


def seeing_mlx(like: Path, folder: Path, **changes: Any) -> Path:
    """The folder of the model, with the words of the model in `like`. Keywords change its config.json."""
    folder.mkdir(parents=True)
    words = json.loads((like / "tokenizer.json").read_text())
    first = len(words["model"]["vocab"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    words["added_tokens"] += [{"id": first + place, "content": mark, **plain} for place, mark in enumerate(MARKS)]
    (folder / "tokenizer.json").write_text(json.dumps(words))
    shutil.copyfile(like / "tokenizer_config.json", folder / "tokenizer_config.json")
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    (folder / "preprocessor_config.json").write_text(json.dumps(_PIXELS))
    (folder / "processor_config.json").write_text('{"processor_class": "SmolVLMProcessor", "image_seq_len": 1}')
    said = json.loads((like / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(_config(said, first) | changes))
    tensors = {f"language_model.{name}": values for name, values in _language(words["model"]["vocab"]).items()}
    write_safetensors(folder / "model.safetensors", tensors | _eyes())
    return folder


def _config(like: dict[str, Any], first: int) -> dict[str, Any]:
    text = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": first + len(MARKS),
        "rope_theta": 10000.0,
        "max_position_embeddings": 512,
    }
    sight = {
        "model_type": "smolvlm_vision",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": PATCH,
    }
    return {
        "model_type": "smolvlm",
        "text_config": text,
        "vision_config": sight,
        "scale_factor": SCALE,
        "image_token_id": first,
        "vocab_size": text["vocab_size"],
        "eos_token_id": like["eos_token_id"],
        "torch_dtype": "bfloat16",
    }


def _language(vocabulary: dict[str, int]) -> Arrays:
    numbers = np.random.default_rng(7)
    rows = len(vocabulary) + len(MARKS)
    embeddings, heads = numbers.normal(0, 0.1, (2, rows, HIDDEN))
    embeddings[:, :FREE] = heads[:, :FREE] = 0
    for place, color in enumerate(COLORS):
        heads[vocabulary[f"\u0120{color}"], place] = 8
        heads[vocabulary[color], place] = 7  # within quotation marks
    same, nothing = np.eye(HIDDEN), np.zeros((HIDDEN, HIDDEN))
    layer = {
        "self_attn.q_proj": nothing,
        "self_attn.k_proj": nothing,
        "self_attn.v_proj": same,
        "self_attn.o_proj": same * 8,
        "mlp.gate_proj": nothing,
        "mlp.up_proj": nothing,
        "mlp.down_proj": nothing,
        "input_layernorm": np.ones(HIDDEN),
        "post_attention_layernorm": np.ones(HIDDEN),
    }
    tensors = {f"layers.0.{name}.weight": values for name, values in layer.items()}
    ends = {"embed_tokens.weight": embeddings, "lm_head.weight": heads, "norm.weight": np.ones(HIDDEN)}
    return tensors | ends


def _eyes() -> Arrays:
    """Each patch's mean colour in the first three values; a block that adds nothing to it."""
    look = np.zeros((WIDTH, PATCH, PATCH, 3))
    for place in range(3):
        look[place, :, :, place] = 1 / (PATCH * PATCH)
    tensors: Arrays = {
        "embeddings.patch_embedding.weight": look,
        "embeddings.patch_embedding.bias": np.zeros(WIDTH),
        "embeddings.position_embedding.weight": np.zeros((SCALE * SCALE, WIDTH)),
    }
    for name in ("encoder.layers.0.layer_norm1", "encoder.layers.0.layer_norm2", "post_layernorm"):
        tensors |= {f"{name}.weight": np.ones(WIDTH), f"{name}.bias": np.zeros(WIDTH)}
    for name in (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "mlp.fc1",
        "mlp.fc2",
    ):
        tensors |= {
            f"encoder.layers.0.{name}.weight": np.zeros((WIDTH, WIDTH)),
            f"encoder.layers.0.{name}.bias": np.zeros(WIDTH),
        }
    onto = np.zeros((HIDDEN, SCALE * SCALE, WIDTH))  # the patches of a picture, one after the other
    for place in range(3):
        onto[place, :, place] = 1
    connector = {"connector.modality_projection.proj.weight": onto.reshape(HIDDEN, -1)}
    return {f"vision_model.{name}": values for name, values in tensors.items()} | connector


def shown(color: tuple[int, int, int], text: str = "Which colour is it?", kind: str = "PNG") -> list[dict[str, Any]]:
    return asking(data_uri(picture(kind, color, (200, 120)), f"image/{kind.lower()}"), text=text)


async def look(upstream: Upstream, messages: Any, **fields: Any) -> dict[str, Any]:
    body = {"messages": messages, "max_tokens": 3, "temperature": 0, **fields}
    status, reply = await ask(upstream, CHAT, body)
    assert status == 200, reply
    assert isinstance(reply, dict)
    return reply


def said(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])
