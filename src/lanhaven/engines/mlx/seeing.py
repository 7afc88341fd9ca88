"""Models that see, by mlx-vlm: read from a folder, and the steps of an answer to a prompt with pictures.

mlx-vlm batches only requests that are sampled alike, so they are computed one after the other.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_vlm.apc import multimodal_token_ids_from_config
from mlx_vlm.generate import generate_step
from mlx_vlm.generate.dispatch import _prime_cached_prefix_rope_state as place_again
from mlx_vlm.models import cache as kinds
from mlx_vlm.prompt_utils import MODEL_CONFIG
from mlx_vlm.utils import load_config, load_image_processor, load_model, load_processor

from lanhaven.engines.mlx.caches import Quantized, length_of, new_cache
from lanhaven.engines.mlx.memory import PromptMemory
from lanhaven.engines.serving.jobs import Job, Progress
from lanhaven.engines.serving.mailbox import Mailbox

BLIND = "vision: false in its config loads its language part alone, where mlx-lm knows it"


def read_seeing(path: Path) -> tuple[Any, Any]:
    """(model, processor). mlx-vlm runs a file of the folder that config.json names as model_file: not here."""
    if "model_file" in load_config(path):
        raise ValueError("the model brings a custom module (model_file): code that comes with a model is never run")
    try:
        model = load_model(path, lazy=True)
    except ValueError as error:
        raise ValueError(f"{error}. {BLIND}") from error
    if model.config.model_type.lower() not in MODEL_CONFIG:
        raise ValueError(f"mlx-vlm does not know how {model.config.model_type} is asked about pictures. {BLIND}")
    return model, _processor(path)


def _processor(path: Path) -> Any:
    try:
        processor = load_processor(path, False, trust_remote_code=False)
        if (images := load_image_processor(path, trust_remote_code=False)) is not None:
            processor.image_processor = images
    except (ValueError, OSError, ImportError, TypeError, KeyError, AttributeError) as error:
        own = "trust_remote_code" in str(error)
        why = "it is code that comes with the model, which is never run" if own else error
        raise ValueError(f"the model's processor, which reads pictures, cannot be loaded: {why}. {BLIND}") from error
    return processor


class SeeingSteps:
    """Implements Steps."""

    def __init__(
        self,
        mailbox: Mailbox,
        model: Any,
        *,
        prompt_step: int,
        memory: PromptMemory,
        max_kv_size: int | None = None,
        quantized: Quantized | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._model = model
        self._memory = memory
        self._max_kv_size = max_kv_size
        self._places = multimodal_token_ids_from_config(model.config)  # tokens that stand for a piece of a picture
        self._options: dict[str, Any] = {"prefill_step_size": prompt_step}
        self._options |= quantized.options() if quantized is not None else {}

    def __call__(self, job: Job) -> Generator[tuple[int, Any], None, None]:
        sampler, processors = job.make()
        arrays = dict(job.sight.arrays) if job.sight is not None else {}
        pixels, mask = arrays.pop("pixel_values", None), arrays.pop("attention_mask", None)
        tokens = mx.array([list(job.prompt)])
        mask = mx.ones_like(tokens) if mask is None else mask
        said = self._named(job)
        cache, known = self._recall(job, said, (tokens, mask, arrays))
        job.cached = known
        steps = generate_step(
            tokens[:, known:],
            self._model,
            pixels if known == 0 else None,
            mask,
            max_tokens=job.most,
            sampler=sampler or (lambda logprobs: mx.argmax(logprobs, axis=-1)),
            logits_processors=processors,
            prompt_cache=cache,
            **self._options,
            **arrays,
        )
        length = len(job.prompt)
        try:
            for count, (token, logprobs) in enumerate(steps):
                if count == 0:
                    self._mailbox.tell([(job, Progress(length, length, known))])
                said.append(int(token))
                yield int(token), logprobs
        finally:
            if self._is_known_by_name(job):
                self._memory.keep(said[: length_of(cache, len(said))], cache)

    def _named(self, job: Job) -> list[int]:
        """The prompt as it is remembered: what stands for pictures is named after them, for all look alike."""
        if job.sight is None:
            return list(job.prompt)
        return [-1 - job.sight.digest if token in self._places else token for token in job.prompt]

    def _is_known_by_name(self, job: Job) -> bool:
        return job.sight is None or not self._places.isdisjoint(job.prompt)

    def _recall(self, job: Job, named: list[int], asked: tuple[Any, Any, dict[str, Any]]) -> tuple[list[Any], int]:
        """(a cache, tokens it holds already). Pictures that are not in it whole are computed anew, with all else.

        `asked`: tokens, mask and the other arrays, to which the places of tokens are added where a model counts them
        by its pictures.
        """
        cache, known = self._memory.recall(named) if self._is_known_by_name(job) else (None, 0)
        tokens, mask, arrays = asked
        if cache is None or not self._places.isdisjoint(job.prompt[known:]):
            return self._fresh(), 0
        if place_again(self._model, tokens, mask, arrays):
            return cache, known
        return self._fresh(), 0

    def _fresh(self) -> list[Any]:
        return new_cache(self._model.language_model, self._max_kv_size, kinds)
