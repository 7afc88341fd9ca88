"""What passes between the server's thread, which knows text, and the thread that computes, which knows tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` tokens of the prompt are processed, `cached` of them were remembered."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token. `logprob` and `top` (pairs of token and logprob, likeliest first) only if asked for.

    finish: "stop" (this token ends the answer and is no part of it), "length" (it is the last one), None.
    """

    token: int
    finish: str | None = None
    logprob: float | None = None
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class Vector:
    """What an embedding model makes of a whole text."""

    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Failed:
    """The computation broke off."""

    message: str


Event = Progress | Token | Vector | Failed


@dataclass(eq=False, slots=True)
class Job:
    """One sequence to generate. `sink` gets its events in the server's thread.

    make: makes what chooses the tokens, in the computing thread; what that is, the engine knows (replying.Model.draw).
    top: how many likeliest tokens are told besides each; None = not even the token's own logprob.
    sight: what the prompt's pictures became (prompts.Prompts.read), None without any.
    """

    prompt: Sequence[int]
    most: int
    make: Callable[[], Any]
    sink: Callable[[Event], None]
    top: int | None = None
    sight: Any = None
    uid: int | None = field(default=None, init=False)  # the generator's number for it
    cached: int = field(default=0, init=False)
    guessed: int = field(default=0, init=False)  # tokens of the answer that a draft model had guessed


class Computing(Protocol):
    """The computing thread's loop. `submit` and `cancel` may be called from any thread."""

    def submit(self, job: Job) -> None: ...

    def cancel(self, job: Job) -> None: ...

    def run(self) -> None:
        """Compute for ever, in the thread that loaded the model: mlx ties arrays under work to a thread's stream."""
        ...
