"""What the scripted server answers when nothing is wrong: the same to the same request, on every machine. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lanhaven.engines.scripted_faults import Fault
from lanhaven.errors import InvalidRequest

_WORD = re.compile(r"\s*\S+")
_VOCABULARY = (
    "the",
    "sea",
    "is",
    "calm",
    "and",
    "blue",
    "while",
    "gulls",
    "fly",
    "over",
    "white",
    "sand",
    "old",
    "boats",
)
CREATED = 1_700_000_000


@dataclass(frozen=True, slots=True)
class ScriptedModel:
    """A model that is all manners and no mind."""

    name: str = "mock"
    kind: str = "llm"  # or "vlm", "embedding", "reranker"
    answer: str = "echo"  # the last user message; or "count" (tok0 tok1 ...), or "random" (by seed)
    tokens: int = 16  # how many, for "count" and "random"
    interval: float = 0.0  # seconds between tokens
    slots: int = 4  # requests computed at once; more wait
    context: int = 8192  # words that fit
    dimensions: int = 8  # of embeddings
    crash_after: int | None = None  # generations begun, after which the server is gone


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, in pieces. `tool`: (name, arguments as JSON) instead of text."""

    tokens: list[str]
    finish: str
    reasoning: list[str]
    tool: tuple[str, str] | None = None

    @property
    def count(self) -> int:
        return len(self.tokens) + len(self.reasoning) + (len(pieces(self.tool[1])) if self.tool else 0)


def words(text: str) -> list[str]:
    """Word-sized tokens with their leading space: joined they are the text (but for trailing space)."""
    return _WORD.findall(text)


def pieces(text: str, size: int = 8) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def text_of(content: object) -> str:
    """The text of a message's content: a string, or its text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(str(each.get("text", "(image)")) for each in content if isinstance(each, dict))
    return ""


def prompt_of(body: Mapping[str, Any]) -> str:
    """All that the model is given."""
    if "messages" not in body:
        prompt = body.get("prompt", "")
        return " ".join(map(str, prompt)) if isinstance(prompt, list) else str(prompt)
    return " ".join(text_of(each.get("content")) for each in body["messages"] if isinstance(each, dict))


def template(body: Mapping[str, Any]) -> str:
    """The messages as one prompt, in the manner of ChatML."""
    said = [(str(each.get("role", "user")), text_of(each.get("content"))) for each in body.get("messages", ())]
    return "".join(f"<|{role}|>{text}\n" for role, text in said) + "<|assistant|>"


def progress(count: int) -> list[dict[str, int]]:
    """How the processing of a prompt of so many tokens goes on, as llama.cpp tells it."""
    return [{"total": count, "cache": 0, "processed": done, "time_ms": 0} for done in (0, count // 2, count)]


def last_user_text(body: Mapping[str, Any]) -> str:
    if "messages" not in body:
        return prompt_of(body)
    said = [text_of(each.get("content")) for each in body["messages"] if each.get("role") == "user"]
    return said[-1] if said else ""


def check(body: object) -> None:
    """InvalidRequest for what an OpenAI server would refuse too."""
    if not isinstance(body, dict):
        return
    messages = body.get("messages", [])
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise InvalidRequest("messages must be a list of objects.", param="messages")
    for name in ("n", "max_tokens", "max_completion_tokens", "dimensions", "top_n"):
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise InvalidRequest(f"{name} must be a whole number.", param=name)


def answers(body: Mapping[str, Any], model: ScriptedModel, fault: Fault) -> list[Answer]:
    """One answer per choice (`n`). InvalidRequest where tools or a schema are not of the form they should have."""
    count = body.get("n") or 1
    try:
        return [_answer(body, model, fault, index) for index in range(count)]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise InvalidRequest(f"tools, tool_choice or response_format cannot be read: {error!r}.") from error


def _answer(body: Mapping[str, Any], model: ScriptedModel, fault: Fault, index: int) -> Answer:
    reasoning = words(fault.reasoning or "")
    tool = None if fault.text is not None else _tool(body, fault)
    if tool is not None:
        return Answer([], "tool_calls", reasoning, tool)
    tokens = words(_text(body, model, fault, index))
    tokens = _stopped(tokens, body.get("stop"))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit is not None and len(tokens) > limit:
        return Answer(tokens[:limit], "length", reasoning)
    return Answer(tokens, "stop", reasoning)


def _text(body: Mapping[str, Any], model: ScriptedModel, fault: Fault, index: int) -> str:
    if fault.text is not None:
        return fault.text
    wanted = body.get("response_format") or {}
    match wanted.get("type"):
        case "json_schema":
            return json.dumps(sample(wanted.get("json_schema", {}).get("schema", {})))
        case "json_object":
            return json.dumps({"answer": last_user_text(body)})
    tokens = model.tokens if fault.tokens is None else fault.tokens
    match fault.answer or ("count" if fault.tokens is not None and model.answer == "echo" else model.answer):
        case "count":
            return " ".join(f"{fault.nonce}tok{number}" for number in range(tokens))
        case "random":
            seed = body.get("seed")
            dice = random.Random(f"{prompt_of(body) if seed is None else seed}/{index}")
            return " ".join(dice.choice(_VOCABULARY) for _ in range(tokens))
        case _:
            return last_user_text(body) or "ok"


def _stopped(tokens: list[str], stop: object) -> list[str]:
    marks = [stop] if isinstance(stop, str) else list(stop) if isinstance(stop, list) else []
    text = "".join(tokens)
    cuts = [text.find(mark) for mark in marks if mark and mark in text]
    return words(text[: min(cuts)]) if cuts else tokens


def _tool(body: Mapping[str, Any], fault: Fault) -> tuple[str, str] | None:
    """The tool to call: told by the fault script, required by the request, or named by the user."""
    offered = {each["function"]["name"]: each["function"] for each in body.get("tools") or () if "function" in each}
    choice = body.get("tool_choice", "auto")
    name = fault.tool
    if name is None and isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
    if name is None and choice != "none" and offered:
        said = set(re.findall(r"\w+", last_user_text(body)))
        tools_answered = body["messages"][-1].get("role") == "tool"
        named = None if tools_answered else next((each for each in offered if each in said), None)
        name = named or (next(iter(offered)) if choice == "required" else None)
    if name is None:
        return None
    arguments = fault.arguments
    if arguments is None:
        arguments = sample(offered.get(name, {}).get("parameters", {}))
    return name, json.dumps(arguments)


def sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits a JSON schema, of the plain kind."""
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return sample(schema["anyOf"][0])
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "string":
            return "text"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [sample(schema.get("items", {"type": "string"}))] * max(1, schema.get("minItems", 1))
        case "null":
            return None
        case _:
            return {name: sample(each) for name, each in schema.get("properties", {}).items()}


def usage_of(prompt: str, completion: int) -> dict[str, Any]:
    count = len(words(prompt))
    return {
        "prompt_tokens": count,
        "completion_tokens": completion,
        "total_tokens": count + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def whole(body: Mapping[str, Any], made: Sequence[Answer], usage: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
    """The reply to a request that does not stream."""
    choices = [_chat_choice(each, index) if chat else _text_choice(each, index) for index, each in enumerate(made)]
    return {**envelope(body, chat=chat), "choices": choices, "usage": usage}


def envelope(body: Mapping[str, Any], *, chat: bool, chunk: bool = False) -> dict[str, Any]:
    name = "text_completion" if not chat else "chat.completion.chunk" if chunk else "chat.completion"
    return {"id": "chatcmpl-mock", "object": name, "created": CREATED, "model": body.get("model") or "mock"}


def _chat_choice(answer: Answer, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.tokens)}
    if answer.reasoning:
        message["reasoning_content"] = "".join(answer.reasoning)
    if answer.tool is not None:
        message |= {"content": None, "tool_calls": [_call(index, answer.tool[0], answer.tool[1])]}
    return {"index": index, "message": message, "finish_reason": answer.finish}


def _text_choice(answer: Answer, index: int) -> dict[str, Any]:
    return {"index": index, "text": "".join(answer.tokens), "finish_reason": answer.finish, "logprobs": None}


def _call(index: int, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


def deltas(answer: Answer, index: int, *, chat: bool) -> Iterator[dict[str, Any]]:
    """The choices of a stream's chunks, without the first (role) and the last (finish_reason): one per token."""
    for token in answer.reasoning:
        yield _delta(index, {"reasoning_content": token})
    for token in answer.tokens:
        yield _delta(index, {"content": token}) if chat else {"index": index, "text": token, "finish_reason": None}
    if answer.tool is not None:
        name, arguments = answer.tool
        yield _delta(index, {"tool_calls": [{"index": 0, **_call(index, name, "")}]})
        for piece in pieces(arguments):
            yield _delta(index, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})


def turns(made: Sequence[Answer], *, chat: bool) -> Iterator[dict[str, Any]]:
    """The choices of all answers' chunks, taking turns."""
    running = [deltas(answer, index, chat=chat) for index, answer in enumerate(made)]
    while running:
        for each in tuple(running):
            choice = next(each, None)
            if choice is None:
                running.remove(each)
            else:
                yield choice


def _delta(index: int, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def first_delta(index: int) -> dict[str, Any]:
    return _delta(index, {"role": "assistant", "content": ""})


def last_delta(answer: Answer, index: int, *, chat: bool) -> dict[str, Any]:
    return _delta(index, {}, answer.finish) if chat else {"index": index, "text": "", "finish_reason": answer.finish}


# Everything that is not text


def embeddings(body: Mapping[str, Any], model: ScriptedModel) -> dict[str, Any]:
    """Vectors made from the words: texts that share words are near each other."""
    given = body.get("input", "")
    inputs = given if isinstance(given, list) and not (given and isinstance(given[0], int)) else [given]
    texts = [each if isinstance(each, str) else " ".join(map(str, each)) for each in inputs]
    dimensions = body.get("dimensions") or model.dimensions
    vectors = [vector(each, dimensions) for each in texts]
    packed = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(each) if packed else each}
        for index, each in enumerate(vectors)
    ]
    tokens = sum(len(words(each)) for each in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model") or model.name, "usage": usage}


def vector(text: str, dimensions: int) -> list[float]:
    """Unit length (of no words: the first axis)."""
    total = [0.0] * dimensions
    for word in re.findall(r"\w+", text.lower()):
        dice = random.Random(hashlib.blake2b(word.encode(), digest_size=8).digest())
        total = [each + dice.gauss(0.0, 1.0) for each in total]
    size = math.sqrt(sum(each * each for each in total))
    return [each / size for each in total] if size else [1.0] + [0.0] * (dimensions - 1)


def _base64(numbers: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def rerank(body: Mapping[str, Any]) -> dict[str, Any]:
    """Scores are the share of the query's words that a document has."""
    query = set(re.findall(r"\w+", str(body.get("query", "")).lower()))
    documents = body.get("documents")
    if not isinstance(documents, list):
        raise InvalidRequest("documents must be a list.", param="documents")
    texts = [each if isinstance(each, str) else str(each.get("text", "")) for each in documents]
    scores = [len(query & set(re.findall(r"\w+", each.lower()))) / max(1, len(query)) for each in texts]
    order = sorted(range(len(texts)), key=lambda index: (-scores[index], index))[: body.get("top_n")]
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    tokens = sum(len(words(each)) for each in texts)
    return {"object": "list", "results": results, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def token_ids(text: str) -> list[int]:
    return [zlib.crc32(each.encode()) % 50_000 for each in words(text)]
