"""What of a model's build decides the memory it takes: its layers as the KV cache sees them, and its widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lanhaven.formats.gguf import GGUFHeader
from lanhaven.formats.gguf_source import Reason, bad

MAX_LAYERS = 4096

# Every n-th layer sees the whole context, those before it a window only (set_swa_pattern in llama.cpp's model files).
# Architectures whose files do not say so; for others with a window the whole context is assumed, which is too much.
_WINDOW_PATTERN: Mapping[str, int] = MappingProxyType(
    {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "olmo2": 4, "llama4": 4}
)
_DEFAULT_WINDOW: Mapping[str, int] = MappingProxyType({"gemma2": 4096, "llama4": 8192})
_ATTENTION_INTERVAL = 4  # full_attention_interval of qwen3next, qwen35, qwen35moe where the file does not say it
_INTERVAL_ARCHITECTURES = frozenset({"qwen3next", "qwen35", "qwen35moe"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: how many K and V values it keeps per token, and whether only for tokens within the window."""

    values: int
    windowed: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths in values, `window` in tokens. `state_values`: F32 values per sequence of recurrent layers."""

    layers: tuple[Layer, ...]
    window: int
    state_values: int
    embedding: int
    feed_forward: int
    heads: int
    head_length: int
    experts_used: int
    vocabulary: int
    merges: int


def layer_count(header: GGUFHeader, architecture: str) -> int:
    """`block_count`, bounded. 0 if the file does not say it."""
    count = header.integer(f"{architecture}.block_count") or 0
    if count > MAX_LAYERS:
        raise bad(Reason.OVER_LIMIT, f"The model file claims to have {count} layers.")
    return count


def shape_of(header: GGUFHeader, architecture: str, *, keeps_tokens: bool) -> Shape:
    """The shape from a header; `keeps_tokens` is False for encoders, which have no KV cache."""
    facts = _Facts(header, architecture)
    layers = facts.layers() if keeps_tokens else ()
    recurrent = sum(1 for layer in layers if layer.values == 0)
    return Shape(
        layers=layers,
        window=facts.window(),
        state_values=recurrent * facts.state_values(),
        embedding=facts.number("embedding_length"),
        feed_forward=facts.feed_forward(),
        heads=max(facts.per_layer("attention.head_count")),
        head_length=facts.key_length(),
        experts_used=facts.number("expert_used_count"),
        vocabulary=header.length("tokenizer.ggml.tokens") or facts.number("vocab_size"),
        merges=header.length("tokenizer.ggml.merges") or 0,
    )


class _Facts:
    """Numbers of one architecture, 0 where the file is silent."""

    def __init__(self, header: GGUFHeader, architecture: str) -> None:
        self._header = header
        self._architecture = architecture
        self._count = layer_count(header, architecture)

    def number(self, name: str, default: int = 0) -> int:
        value = self._header.integer(f"{self._architecture}.{name}")
        return default if value is None else value

    def per_layer(self, name: str, default: int = 0) -> tuple[int, ...]:
        """A value that files give once, or as an array with one number per layer. Never empty."""
        values = self._header.integers(f"{self._architecture}.{name}")
        if not values:
            return (self.number(name, default),) * max(self._count, 1)
        return (values + values[-1:] * self._count)[: max(self._count, 1)]

    def key_length(self) -> int:
        heads = max(self.per_layer("attention.head_count"))
        return self.number("attention.key_length", self.number("embedding_length") // heads if heads else 0)

    def feed_forward(self) -> int:
        """Width that one token passes through: of the dense layers, or of all experts it is sent to."""
        experts = self.number("expert_used_count") * self.number("expert_feed_forward_length")
        return max(*self.per_layer("feed_forward_length"), experts)

    def window(self) -> int:
        return self.number("attention.sliding_window", _DEFAULT_WINDOW.get(self._architecture, 0))

    def layers(self) -> tuple[Layer, ...]:
        heads = self.per_layer("attention.head_count")
        kv_heads = self.per_layer("attention.head_count_kv", max(heads))
        key, value = self.key_length(), self.number("attention.value_length", self.key_length())
        window_key = self.number("attention.key_length_swa", key)
        window_value = self.number("attention.value_length_swa", value)
        windowed = self._windowed()
        with_cache = self._count - self.number("attention.shared_kv_layers")  # the last ones use an earlier layer's
        return tuple(
            Layer(
                kv_heads[index] * (window_key + window_value if windowed[index] else key + value),
                windowed[index],
            )
            if self._attends(index)
            else Layer(0)
            for index in range(with_cache)
        )

    def _attends(self, index: int) -> bool:
        """False for the recurrent layers of a hybrid model that names an interval; others say it by 0 KV heads."""
        if self._architecture not in _INTERVAL_ARCHITECTURES:
            return True
        interval = self.number("full_attention_interval", _ATTENTION_INTERVAL) or 1
        return (index + 1) % interval == 0

    def _windowed(self) -> tuple[bool, ...]:
        if not self.window():
            return (False,) * self._count
        name = f"{self._architecture}.attention.sliding_window_pattern"
        flags = self._header.integers(name)
        if flags is not None and len(flags) >= self._count:
            return tuple(flag != 0 for flag in flags[: self._count])
        pattern = self._header.integer(name) or _WINDOW_PATTERN.get(self._architecture, 1)
        return tuple(index % pattern < pattern - 1 for index in range(self._count))

    def state_values(self) -> int:
        """F32 values of one recurrent layer and sequence (n_embd_r + n_embd_s in llama-hparams.cpp)."""
        embedding = self.number("embedding_length")
        if head := self.number("wkv.head_size"):
            return self.number("token_shift_count", 2) * embedding + embedding * head
        if shift := self.number("shortconv.l_cache"):
            return embedding * (shift - 1)
        state, inner = self.number("ssm.state_size"), self.number("ssm.inner_size")
        mixed = inner + 2 * self.number("ssm.group_count") * state
        return max(self.number("ssm.conv_kernel") - 1, 0) * mixed + state * inner
