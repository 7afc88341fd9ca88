"""How much memory a GGUF model will take in llama.cpp's process, before it is loaded.

total = weights + KV cache + compute + prompt cache + base, in bytes. The first two are exact, the others were fitted to
xllamacpp 2026.10 on a CPU. What was measured (MiB, PSS of the process; "used" after prompts longer than a batch):

    model, context x slots     engine's own KV / compute    one request    used     this estimate
    SmolLM2 Q4_1,  2048 x 1    45.0 / 16.6                  196            211      209
    SmolLM2 Q4_1,  2048 x 4    180.0 / 16.6                 331            349      344
    SmolLM2 Q4_1,  8192 x 1    180.0 / 22.6                 331                     350
    SmolLM2 Q4_1,  8192 x 4    720.0 / 22.6                 871                     890
    SmolLM2 q8_0,  8192 x 1    95.6 / 22.7                  247            264      265
    Gemma 3 270M,  2048 x 1    21.0 / 21.3                  365            399      397
    Gemma 3 270M,  8192 x 4    156.0 / 27.3                 501            599      643
    MiniLM F32,     512 x 1    0 / 7.3                      125            177      194

weights: the bytes of the tensors; mapped, so several processes share them. Not counted: Q4_0, Q4_K and IQ4_NL tensors
are copied into another order on AVX2 and ARM ("CPU_REPACK"); the mapped originals remain in the process's figures, but
the kernel takes them back when it needs room.

compute: the largest set of intermediate values of one batch of 512 tokens that live at once, and the attention mask.
With flash attention per token 3 x feed forward + 5 x embedding F32 values, and 2 bytes per cell of the cache; that gave
14.63 MiB for SmolLM2 (the engine: 14.64) and 18.25 for Gemma (18.28). Without, the scores of all heads come on top
(4 bytes per head, token and cell), and the mask takes 4 bytes. An embedding model is given its whole context as batch,
and keeps a row of the vocabulary's length for every token of it.

base: Python and the libraries 25 MiB, and 320 bytes for each token and merge of the vocabulary.

prompt cache: `cache_ram_bytes`, and what the server copies aside of windowed or recurrent layers to go back to a shared
prefix: one copy per slot, and one more for every 8192 tokens.
"""

from __future__ import annotations

from lanhaven.errors import InvalidRequest
from lanhaven.formats.ggml import KV_BYTES
from lanhaven.formats.gguf_model import GGUFModel
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import ModelKind

BATCH = 512  # n_ubatch of llama.cpp
CELLS = 256  # the cache grows in steps of so many tokens
_BASE = 25 << 20
_VOCABULARY_ENTRY = 320
_CHECKPOINT_STEP = 8192  # checkpoint_min_step of llama.cpp
_MOST_CHECKPOINTS = 32  # n_ctx_checkpoints of llama.cpp
_F32 = 4


def estimate(
    model: GGUFModel,
    *,
    context_length: int,
    slots: int,
    kv_type: str = "f16",
    cache_ram_bytes: int = 0,
    flash_attention: bool | None = None,
    projector: GGUFModel | None = None,
) -> MemoryEstimate:
    """What `model` will take with `slots` sequences of `context_length` tokens each.

    `flash_attention` None lets llama.cpp decide: it does use it. InvalidRequest for numbers below 1 and for a
    `kv_type` that llama.cpp has not.
    """
    if context_length < 1 or slots < 1:
        raise InvalidRequest("A context has at least one token, and a model at least one slot.", param="context_length")
    if kv_type not in KV_BYTES:
        raise InvalidRequest(
            f"There is no KV cache type {kv_type!r}; there are {', '.join(KV_BYTES)}.", param="kv_type"
        )
    cells = _padded(context_length)
    whole, windowed, state = _cache_bytes(model, cells, KV_BYTES[kv_type])
    copied = windowed + state
    checkpoints = min(1 + cells // _CHECKPOINT_STEP, _MOST_CHECKPOINTS)
    vocabulary = model.shape.vocabulary + model.shape.merges
    prompt_cache = cache_ram_bytes + slots * checkpoints * copied
    return MemoryEstimate(
        weights=model.size_bytes,
        projector=projector.size_bytes if projector else 0,
        kv=slots * (whole + windowed + state),
        compute=_compute_bytes(model, cells, flash_attention is not False),
        prompt_cache=prompt_cache,
        base=_BASE + _VOCABULARY_ENTRY * vocabulary,
        later=prompt_cache,
    )


def _padded(tokens: int) -> int:
    return -(-tokens // CELLS) * CELLS


def _cache_bytes(model: GGUFModel, cells: int, value_bytes: float) -> tuple[int, int, int]:
    """Bytes of one sequence: layers that see all tokens, layers that see a window, recurrent layers."""
    shape = model.shape
    window = min(cells, _padded(shape.window + BATCH))  # llama_kv_cache_iswa: the window and one batch
    whole = sum(layer.values for layer in shape.layers if not layer.windowed)
    windowed = sum(layer.values for layer in shape.layers if layer.windowed)
    return int(cells * whole * value_bytes), int(window * windowed * value_bytes), shape.state_values * _F32


def _compute_bytes(model: GGUFModel, cells: int, flash_attention: bool) -> int:
    shape = model.shape
    encoder = model.kind in (ModelKind.EMBEDDING, ModelKind.RERANKER)
    batch = cells if encoder else min(BATCH, cells)
    experts = max(shape.experts_used, 1) - 1  # each expert's result is kept until they are added up
    through = 3 * shape.feed_forward + (5 + experts) * shape.embedding
    attended = 4 * (shape.embedding + shape.heads * shape.head_length)
    mask = cells + (_padded(shape.window + BATCH) if shape.window else 0)
    if flash_attention:
        needed = batch * (max(through, attended) * _F32 + mask * 2)
    else:
        needed = batch * (max(through, attended + shape.heads * cells) * _F32 + mask * _F32)
    outputs = batch * (shape.vocabulary + shape.embedding) * _F32 if encoder else 0
    return needed + outputs
