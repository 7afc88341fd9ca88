"""Prompts with pictures, by mlx-vlm: the form in which each kind of model wants them, and its processor."""

from __future__ import annotations

import asyncio
import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from typing import Any

import mlx.core as mx
from mlx_vlm.prompt_utils import apply_chat_template
from mlx_vlm.utils import load_image, prepare_inputs, should_add_special_tokens

from lanhaven.engines.mlx.prompts import TokenizerPrompts
from lanhaven.engines.serving.bad import BadRequest
from lanhaven.engines.serving.prompts import objects

NOT_DATA = "a picture must come as a data URI with base64: the engine fetches nothing"
# What processors of many makers raise at pictures that they cannot take.
REFUSALS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a processor made of a prompt's pictures. `arrays`: under mlx-vlm's names. `digest`: of all pictures."""

    arrays: Mapping[str, Any]
    digest: int


class SeeingPrompts(TokenizerPrompts):
    """Pictures are read in a thread of their own, for that takes a while, by a processor with a tokenizer of its own:
    a tokenizer may not be used by two threads at once."""

    def __init__(self, tokenizer: Any, processor: Any, config: Any) -> None:
        super().__init__(tokenizer)
        self._processor = processor
        self._facts: Mapping[str, Any] = vars(config)
        self._adds_marks = should_add_special_tokens(config.model_type, processor)
        self._thread = ThreadPoolExecutor(1, "pictures")

    def content(self, content: Any) -> Any:
        if isinstance(content, list) and any(_is_picture(part) for part in objects(content, "content")):
            return [_part(part) for part in content]
        return super().content(content)

    def render(self, messages: Sequence[Any], tools: Sequence[Any] | None, *, goes_on: bool, said: Any) -> str:
        formed = apply_chat_template(None, self._facts, list(messages), return_messages=True)
        if isinstance(formed[-1], str):  # of models that know no conversation
            return formed[-1]
        return super().render(formed, tools, goes_on=goes_on, said=said)

    async def read(self, text: str, body: Mapping[str, Any]) -> tuple[list[int], Sight | None]:
        pictures = [_bytes(part) for part in _pictures(body)]
        if not pictures:
            return self.encode(text, special=self._marks(text)), None
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, text, pictures)

    def _marks(self, text: str) -> bool:
        """Whether the tokenizer adds its first token: some templates of models that see leave it out."""
        first = self._tokenizer.bos_token
        return self._adds_marks and not (first and text.startswith(first))

    def _look(self, text: str, pictures: Sequence[bytes]) -> tuple[list[int], Sight]:
        try:
            arrays = prepare_inputs(
                self._processor,
                images=[load_image(BytesIO(each)) for each in pictures],
                prompts=text,
                image_token_index=self._facts.get("image_token_index"),
                add_special_tokens=self._marks(text),
            )
            tokens = arrays.pop("input_ids")[0].tolist()
            mx.eval([each for each in arrays.values() if isinstance(each, mx.array)])  # the work is this thread's
        except REFUSALS as error:
            raise BadRequest(f"The model's processor refuses these pictures: {error}") from None
        digest = sha256(b"".join(sha256(each).digest() for each in pictures)).digest()
        return tokens, Sight(arrays, int.from_bytes(digest[:7]))


def _pictures(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """In the order of the conversation, which is that of their places in the text."""
    contents = [message.get("content") for message in objects(body.get("messages"), "messages")]
    return [part for content in contents if isinstance(content, list) for part in content if _is_picture(part)]


def _is_picture(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "image_url" or "image_url" in part


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if _is_picture(part):
        return {"type": "image"}
    if "text" not in part:
        raise BadRequest(f"this model reads texts and pictures, and no parts of type {part.get('type')!r}")
    return {"type": "text", "text": str(part["text"])}


def _bytes(part: Mapping[str, Any]) -> bytes:
    given = part.get("image_url")
    uri = given.get("url") if isinstance(given, dict) else given
    head, _, data = uri.partition(",") if isinstance(uri, str) else ("", "", "")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise BadRequest(NOT_DATA)
    try:
        return b64decode(data, validate=True)
    except binascii.Error:
        raise BadRequest("a picture's base64 is damaged") from None
