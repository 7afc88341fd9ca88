"""llama-cpp-python 0.3.36, scripted: its interface as far as our worker uses it, on a model that says what it must.

A token is a byte; 256 ends an answer. The model says the text of SAID, or what a grammar was made of; asked for "slow",
it waits before each token until its file's neighbour `go` is there. It never reads the file but for its first bytes.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SAID = b"Hello there. Caf\xc3\xa9 STOP and more."
EOS = 256
GGML_TYPE_F16, GGML_TYPE_Q8_0 = 1, 8

llama_progress_callback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_void_p)
llama_log_callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
heard: list[Any] = []


def llama_log_set(callback: Any, _data: object) -> None:
    heard[:] = [callback]


def log(level: int, text: str) -> None:
    for callback in heard:
        callback(level, text.encode(), None)


def llama_backend_init() -> None: ...


def llama_supports_gpu_offload() -> bool:
    return True


def llama_model_get_vocab(model: object) -> object:
    return model


def llama_vocab_is_eog(_vocab: object, token: int) -> bool:
    return token == EOS


def llama_sampler_init_grammar(_vocab: object, text: bytes, _root: bytes) -> object:
    return None if b"nonsense" in text else object()


def llama_sampler_free(_sampler: object) -> None: ...


def llama_get_logits_ith(_context: object, _place: int) -> list[float]:
    """The token that comes is far the likeliest."""
    return [10.0 if token == ord("H") else 0.0 for token in range(EOS + 1)]


class LlamaGrammar:
    def __init__(self, text: str, said: bytes) -> None:
        self._grammar, self.said = text, said

    @classmethod
    def from_string(cls, text: str, verbose: bool = True) -> LlamaGrammar:
        return cls(text, b"as the grammar says")

    @classmethod
    def from_json_schema(cls, schema: str, verbose: bool = True) -> LlamaGrammar:
        if "badref" in schema:
            raise ValueError("unknown reference badref")
        return cls(schema, b'{"city":"Rome"}')


class LogitsProcessorList(list[Callable[[Any, Any], Any]]):
    pass


class Parameters:
    progress_callback: Any = None
    check_tensors = False


class Context:
    def kv_cache_seq_rm(self, _sequence: int, _from: int, _to: int) -> bool:
        return True


class Llama:
    def __init__(self, *, model_path: str, n_ctx: int = 512, n_batch: int = 512, **settings: Any) -> None:
        log(1, "llama_model_loader: loaded meta data\n")
        self.model_params = Parameters()
        self.model_params.progress_callback(0.5, None)
        if Path(model_path).read_bytes()[:4] != b"GGUF":
            log(3, "gguf_init_from_file: ")
            log(5, "invalid magic characters\n")
            raise ValueError(f"Failed to load model from file: {model_path}")
        self.model_params.progress_callback(1.0, None)
        said = {"n_ctx": n_ctx, **settings, "check_tensors": self.model_params.check_tensors}
        log(1, f"scripted: {' '.join(f'{name}={value}' for name, value in sorted(said.items()))}\n")
        log(1, f"load_tensors: offloaded {min(31, settings['n_gpu_layers'])}/31 layers to GPU\n")
        self.model, self.ctx, self._ctx = object(), object(), Context()
        self.metadata = {"tokenizer.chat_template": "chat"}
        self.n_batch, self.n_tokens, self.input_ids = n_batch, 0, [0] * n_ctx
        self.n_threads = settings.get("n_threads", 1)
        self._n_ctx, self._go, self._seed = n_ctx, Path(model_path).with_name("go"), 0

    def n_ctx(self) -> int:
        return self._n_ctx

    def n_vocab(self) -> int:
        return EOS + 1

    def token_bos(self) -> int:
        return -1

    def token_eos(self) -> int:
        return EOS

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return list(text)

    def detokenize(self, tokens: Sequence[int], special: bool = False) -> bytes:
        return bytes(token for token in tokens if token < EOS)

    def reset(self) -> None:
        self.n_tokens = 0

    def set_seed(self, seed: int) -> None:
        self._seed = seed

    def eval(self, tokens: Sequence[int]) -> None:
        if b"break" in bytes(tokens):
            raise RuntimeError("llama_decode returned -3")
        self.input_ids[self.n_tokens : self.n_tokens + len(tokens)] = tokens
        self.n_tokens += len(tokens)

    def generate(self, tokens: Sequence[int], *, temp: float, grammar: LlamaGrammar | None, **_: Any) -> Iterator[int]:
        slow = b"slow" in bytes(tokens)
        text = grammar.said if grammar is not None else SAID if temp == 0 else str(self._seed).encode()
        for token in (*text, EOS):
            while slow and not self._go.exists():
                yield ord(".")
                time.sleep(0.01)
            yield token

    def embed(
        self, texts: Sequence[str], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> tuple[list[list[float]], int]:
        return [[float(len(text)), 0.5] for text in texts], sum(map(len, texts))
