"""What an OpenAI body may hold: checks that name the field at fault, before anything is leased or sent.

Only what would harm us or an engine, or what an engine answers badly (engines serve `messages: []`, for example), is
checked here; the rest is the upstream's to judge. Unknown fields pass, except those that steer an engine's insides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.dialects.tools.schemas import check_format, check_grammar, check_schema, check_tools
from lanhaven.errors import InvalidRequest
from lanhaven.types.images import Sizing
from lanhaven.types.models import LoadConfig

MAX_MESSAGES = 4096
MAX_INPUTS = 2048  # of an embedding, as at OpenAI, and of a rerank
MAX_STRING = 8 << 20
LONGEST_SIDE = 16384  # pixels
LONGEST_WORD = 64
PLAIN = 2  # fields of most messages: role and content
_SIZING = frozenset({"resize_max", "resize_width", "resize_height", "image_quality", "preserve_alpha"})
_WORDS = ("name", "tool_call_id", "reasoning_content", "reasoning")  # texts of a message
_FETCHED = ("input_audio", "audio_url", "video_url", "input_video", "input_image")

# Routing, credentials, files, adapters and slots of an engine are not a client's business, nor is code that some
# engines would run for one (logits processors). llama.cpp, vLLM, SGLang and mlx-lm each have a few of these (F-128).
FORBIDDEN = frozenset(
    {
        "api_base", "base_url", "url", "headers", "extra_body", "extra_headers", "prompt_embeds", "input_embeds",
        "lora", "lora_adapters", "lora_path", "lora_request", "adapters", "adapter_path", "draft_model", "model_path",
        "slot_id", "id_slot", "slot_save_path", "filename", "chat_template", "media_path", "n_keep_alive",
        "n_cache_reuse", "logits_processors", "custom_logit_processor", "kv_transfer_params", "session_params",
        "bootstrap_host", "bootstrap_port", "bootstrap_room",
    }
)  # fmt: skip
# Of what a template may be told: whether and how to think. More, and a client could put words into the server's mouth.
TEMPLATE_WORDS = frozenset({"enable_thinking", "thinking", "thinking_budget", "preserve_thinking", "reasoning_effort"})

_NUMBERS = frozenset({int, float})  # and not bool, which is an int
Check = Callable[[str, Any], None]


def _number(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if type(value) not in _NUMBERS or not low <= value <= high:
            raise InvalidRequest(f"{name} must be a number from {low:g} to {high:g}.", param=name, retry=False)

    return check


def _integer(low: int, high: int) -> Check:
    def check(name: str, value: Any) -> None:
        if value is None:
            return
        if type(value) is not int or not low <= value <= high:
            raise InvalidRequest(f"{name} must be a whole number from {low} to {high}.", param=name, retry=False)

    return check


def _boolean(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"{name} must be true or false.", param=name, retry=False)


def _text(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} must be a string.", param=name, retry=False)


def _object(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"{name} must be an object.", param=name, retry=False)


def _stop(name: str, value: Any) -> None:
    listed = value if isinstance(value, list) else [value]
    if value is not None and (len(listed) > 16 or not all(isinstance(each, str) for each in listed)):
        raise InvalidRequest("stop must be a string or up to 16 strings.", param=name, retry=False)


def _tools(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise InvalidRequest("tools must be a list of objects.", param=name, retry=False)
    check_tools(name, value)


_TOKENS = _integer(-1, 1 << 30)  # LM Studio's clients write -1 for "no limit"

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "model": _text,
        "stream": _boolean,
        "stream_options": _object,
        "temperature": _number(0, 2),
        "top_p": _number(0, 1),
        "min_p": _number(0, 1),
        "top_k": _integer(-1, 1 << 20),
        "repeat_penalty": _number(0, 100),
        "repetition_penalty": _number(0.1, 2),
        "presence_penalty": _number(-2, 2),
        "frequency_penalty": _number(-2, 2),
        "max_tokens": _TOKENS,
        "max_completion_tokens": _TOKENS,
        "seed": _integer(-(1 << 63), (1 << 63) - 1),
        "n": _integer(1, 8),
        "top_logprobs": _integer(0, 20),
        "logit_bias": _object,
        "chat_template_kwargs": _object,
        "cache_prompt": _boolean,
        "response_format": check_format,
        "json_schema": lambda name, value: None if value is None else check_schema(value, name),
        "grammar": check_grammar,
        "stop": _stop,
        "tools": _tools,
        "dimensions": _integer(1, 1 << 20),
        "top_n": _integer(1, 1 << 20),
        "return_documents": _boolean,
        "ttl": _number(1, 1 << 31),
        **dict.fromkeys(("resize_max", "resize_width", "resize_height"), _integer(1, LONGEST_SIDE)),
        "image_quality": _integer(1, 100),
        "preserve_alpha": _boolean,
    }
)


def check_fields(body: dict[str, Any]) -> None:
    """Check every field that has a rule; drop the forbidden ones. InvalidRequest names the field."""
    for name, value in body.items():
        rule = CHECKS.get(name)
        if rule is not None:
            rule(name, value)
    if body.get("max_tokens") == -1 or body.get("max_completion_tokens") == -1:
        _lift_limits(body)
    if not FORBIDDEN.isdisjoint(body):
        for name in FORBIDDEN.intersection(body):
            del body[name]
    if "chat_template_kwargs" in body:
        _sift_template_words(body)
    if "repetition_penalty" in body:
        body.setdefault("repeat_penalty", body["repetition_penalty"])  # of vLLM and MLX; llama.cpp knows the other


def _sift_template_words(body: dict[str, Any]) -> None:
    words = {
        name: value
        for name, value in (body.pop("chat_template_kwargs") or {}).items()
        if name in TEMPLATE_WORDS and isinstance(value, str | int | float) and len(str(value)) <= LONGEST_WORD
    }
    if words:
        body["chat_template_kwargs"] = words


def _lift_limits(body: dict[str, Any]) -> None:
    """-1 to null, which every server takes for "no limit", and which no default replaces."""
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) == -1:
            body[name] = None


def take_load(body: dict[str, Any]) -> LoadConfig | None:
    """Take LM Studio's `ttl` out of a checked body: seconds unused, if this request has to load the model."""
    ttl = body.pop("ttl", None)
    return None if ttl is None else LoadConfig(idle_ttl=float(ttl))


def take_sizing(body: dict[str, Any]) -> Sizing | None:
    """Take what is said about images out of a checked body (S4-x11)."""
    if _SIZING.isdisjoint(body):
        return None
    return Sizing(
        longest=body.pop("resize_max", None),
        width=body.pop("resize_width", None),
        height=body.pop("resize_height", None),
        quality=body.pop("image_quality", None),
        keep_alpha=body.pop("preserve_alpha", None) is True,
    )


def check_messages(body: dict[str, Any]) -> None:
    """`messages` must be a list of objects with a role, not empty. Images are looked at later (media/)."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("messages must be a list with at least one message.", param="messages", retry=False)
    if len(messages) > MAX_MESSAGES:
        raise InvalidRequest(f"messages may hold at most {MAX_MESSAGES} messages.", param="messages", retry=False)
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest("Each message must be an object with a role.", param=f"messages[{index}]", retry=False)
        content = message.get("content")
        if isinstance(content, list):
            _check_parts(content, index)
        elif content is not None and (not isinstance(content, str) or len(content) > MAX_STRING):
            raise InvalidRequest(
                "content must be a string of at most 8 MiB, a list of parts, or null.",
                param=f"messages[{index}].content",
                retry=False,
            )
        if len(message) > PLAIN:
            _check_more(message, f"messages[{index}]")


def _check_more(message: dict[str, Any], where: str) -> None:
    """What a message may have besides role and content. llama.cpp fails of a wrong type there, as of a fault of its
    own."""
    for name in _WORDS:
        _text(f"{where}.{name}", message.get(name))
    calls = message.get("tool_calls")
    for at, call in enumerate(calls if isinstance(calls, list) else () if calls is None else (calls,)):
        match call:
            case {"type": "function", "function": {"name": str()}} | {"type": "custom", "custom": {"name": str()}}:
                pass
            case _:
                raise InvalidRequest(
                    "Each tool call must have a type, function, and the function's name.",
                    param=f"{where}.tool_calls[{at}]",
                    retry=False,
                )


def _check_parts(parts: list[Any], index: int) -> None:
    for at, part in enumerate(parts):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise InvalidRequest(
                "Each content part must be an object with a type.",
                param=f"messages[{index}].content[{at}]",
                retry=False,
            )
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise InvalidRequest(
                "A part of the type text must have a text.", param=f"messages[{index}].content[{at}].text", retry=False
            )
        for name in _FETCHED:
            _check_source(part.get(name), f"messages[{index}].content[{at}].{name}")


def _check_source(source: Any, param: str) -> None:
    """An engine would fetch a URL itself, from inside the LAN, and open file:// paths (F-161)."""
    url = source.get("url") if isinstance(source, dict) else source
    if isinstance(url, str) and not url.startswith("data:"):
        raise InvalidRequest("Remote sound and films are refused: send a data: URI.", param=param, retry=False)


def check_prompt(body: dict[str, Any]) -> None:
    """`prompt` of a text completion: a string, token ids, or a list of either."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str | list) or prompt == [] or _has_objects(prompt):
        raise InvalidRequest("prompt must be a string, a list of strings, or token ids.", param="prompt", retry=False)


def check_input(body: dict[str, Any]) -> None:
    """`input` of an embedding: a string, token ids, or a list of either; nothing in it empty."""
    given = body.get("input")
    if isinstance(given, list) and given and not _is_token(given[0]):
        if len(given) > MAX_INPUTS:
            raise InvalidRequest(f"input may hold at most {MAX_INPUTS} texts.", param="input", retry=False)
        for index, each in enumerate(given):
            _check_text(each, f"input[{index}]")
    else:
        _check_text(given, "input")


def _check_text(given: Any, param: str) -> None:
    if given in ("", []):
        raise InvalidRequest(f"{param} is empty.", param=param, retry=False)
    if not isinstance(given, str) and not (isinstance(given, list) and all(map(_is_token, given))):
        kinds = "a string or token ids" if "[" in param else "a string, a list of strings, or token ids"
        raise InvalidRequest(f"{param} must be {kinds}.", param=param, retry=False)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _has_objects(given: str | list[Any]) -> bool:
    """llama.cpp takes objects with pictures in them there, which nobody would have looked at."""
    return not isinstance(given, str) and dict in set(map(type, given))


def check_documents(body: dict[str, Any]) -> None:
    """`query` and `documents` of a rerank: texts, or objects with a `text`."""
    if not isinstance(body.get("query"), str) or not body["query"]:
        raise InvalidRequest("query must be a string, and not empty.", param="query", retry=False)
    documents = body.get("documents")
    if not isinstance(documents, list) or not 0 < len(documents) <= MAX_INPUTS:
        raise InvalidRequest(f"documents must be a list of 1 to {MAX_INPUTS} texts.", param="documents", retry=False)
    for index, each in enumerate(documents):
        if not isinstance(each.get("text") if isinstance(each, dict) else each, str):
            where = f"documents[{index}]"
            raise InvalidRequest(f"{where} must be a string, or an object with a text.", param=where, retry=False)
