"""The talk itself: messages, the streamed answer, and the commands that begin with a slash."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lanhaven.cli import output
from lanhaven.cli.connection import Server, parted
from lanhaven.cli.failure import CliError, Exit

HELP = """/clear            forget what was said
/system TEXT      change the system prompt
/model NAME       talk with another model
/exit             leave (Ctrl-D too); Ctrl-C stops an answer"""


@dataclass(slots=True)
class Conversation:
    """What was said so far. `model` None: the active one."""

    model: str | None = None
    system: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    images: Sequence[str] = ()  # data URIs, shown with the first question
    messages: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, text: str) -> None:
        """The images go with the first question, and stay with it."""
        shown = () if self.messages else self.images
        parts = [{"type": "image_url", "image_url": {"url": each}} for each in shown]
        content = [{"type": "text", "text": text}, *parts] if parts else text
        self.messages.append({"role": "user", "content": content})

    def answered(self, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})

    def take_back(self) -> None:
        """Forget the last question: it got no answer."""
        self.messages.pop()

    def body(self) -> dict[str, Any]:
        """As an OpenAI chat request."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        model = {"model": self.model} if self.model else {}
        return {**model, "messages": [*system, *self.messages], **self.sampling}


@dataclass(slots=True)
class Answer:
    """One answer as it came in, and what it cost."""

    text: str = ""
    tokens: int = 0
    finish_reason: str | None = None
    first: float | None = None  # seconds to the first piece
    seconds: float = 0.0

    thinking: bool = False

    def show(self, piece: str, *, thought: bool) -> None:
        """The answer goes to stdout; what a reasoning model thinks is shown dim on a terminal, and is no data."""
        if thought:
            output.aside(piece, end="")
        else:
            if self.thinking:
                output.aside("\n")
            output.write_now(piece)
            self.text += piece
        self.thinking = thought

    def summary(self) -> str:
        """One line of figures; "" where nothing was counted."""
        if not self.tokens or self.first is None:
            return ""
        decoding = self.seconds - self.first
        speed = f" · {(self.tokens - 1) / decoding:.1f} tok/s" if self.tokens > 1 and decoding > 0 else ""
        cut = " · cut off at the token limit" if self.finish_reason == "length" else ""
        return f"{self.tokens} tokens{speed} · first after {self.first:.2f} s{cut}"


def answer_once(server: Server, conversation: Conversation, text: str) -> None:
    """One answer on stdout, as it streams in."""
    conversation.ask(text)
    answer = Answer()
    try:
        stream_answer(server, conversation, answer)
    finally:
        if answer.text and not answer.text.endswith("\n"):
            output.write_now("\n")
    output.aside(answer.summary())


def talk(server: Server, conversation: Conversation) -> None:
    """Question and answer until /exit or Ctrl-D."""
    _prepare_line_editing()
    output.message(f"talking with {conversation.model or _active(server)}; /help lists commands, Ctrl-D leaves")
    while True:
        try:
            text = input(">>> ").strip()
        except EOFError:
            output.message("")
            return
        except KeyboardInterrupt:
            output.message("\nCtrl-D or /exit leaves")
            continue
        if text.startswith("/"):
            if text.split()[0] in ("/exit", "/quit", "/bye"):
                return
            _command(conversation, text)
        elif text:
            _turn(server, conversation, text)


def stream_answer(server: Server, conversation: Conversation, answer: Answer) -> None:
    """Stream one answer to stdout, filling in `answer`; closing the connection on the way out stops the model."""
    body = {**conversation.body(), "stream": True, "stream_options": {"include_usage": True}}
    start = time.monotonic()
    try:
        with server.events("POST", "/v1/chat/completions", body) as events:
            for _, data in events:
                if data.strip() == "[DONE]":
                    return
                for piece, thought in _read(_chunk(data), answer):
                    answer.first = answer.first if answer.first is not None else time.monotonic() - start
                    answer.show(piece, thought=thought)
        raise CliError("the answer broke off", "lanhaven watch", "lanhaven doctor")
    except CliError as error:
        raise _explained(error, conversation) from None
    finally:
        answer.seconds = time.monotonic() - start


def _read(chunk: dict[str, Any], answer: Answer) -> Iterator[tuple[str, bool]]:
    """The text in one chunk, and whether it is thinking only; notes the figures."""
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        answer.tokens = int(usage.get("completion_tokens") or 0)
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            yield thought, True
        if isinstance(delta.get("content"), str) and delta["content"]:
            yield delta["content"], False


def _chunk(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise CliError("the server sent something that is no answer", "lanhaven doctor")
    error = chunk.get("error")
    if error:
        facts = error if isinstance(error, dict) else {"message": error}
        text, hint = parted(str(facts.get("message") or "the model failed"), facts.get("hint"))
        raise CliError(text, hint or "lanhaven watch", code=facts.get("code"), reply=facts)
    return chunk


def _turn(server: Server, conversation: Conversation, text: str) -> None:
    """One question of a talk: a failure is told and the talk goes on."""
    conversation.ask(text)
    answer = Answer()
    try:
        stream_answer(server, conversation, answer)
    except KeyboardInterrupt:
        output.aside("\n(stopped)")
    except CliError as error:
        output.fail(error)
    else:
        output.write_now("\n")
        output.aside(answer.summary())
    if answer.text:
        conversation.answered(answer.text)
    else:
        conversation.take_back()


def _command(conversation: Conversation, text: str) -> None:
    name, _, rest = text.partition(" ")
    match name:
        case "/clear":
            conversation.messages.clear()
            conversation.images = ()
            output.message("forgotten")
        case "/system":
            conversation.system = rest.strip() or None
            output.message("system prompt changed" if conversation.system else "no system prompt")
        case "/model" if rest.strip():
            conversation.model = rest.strip()
            output.message(f"talking with {conversation.model}")
        case _:
            output.message(HELP)


def _active(server: Server) -> str:
    """The model that will answer; CliError if none is."""
    active = server.get("/debug/status")["activeModel"]["modelKey"]
    if active is None:
        models = server.get("/admin/models")["downloaded"]
        active = next((each["path"] for each in models if each["default"]), None)
    if active is None:
        raise CliError("no model is active", "lanhaven chat MODEL", "lanhaven ls", status=Exit.NOT_FOUND)
    return str(active)


def _explained(error: CliError, conversation: Conversation) -> CliError:
    if error.status is not Exit.NOT_FOUND or error.reply.get("hint"):
        return error
    asked = conversation.messages[-1]["content"]
    text = asked if isinstance(asked, str) else asked[0]["text"]
    return error.trying("lanhaven ls", f'lanhaven chat -p "{text[:40]}"')


def _prepare_line_editing() -> None:
    """Arrow keys and history: importing readline is what switches them on, where Python has it."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
