"""The waist: what every dialect turns a request into, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from lanhaven.types.images import Sizing
from lanhaven.types.models import LoadConfig, Overflow


class Route(StrEnum):
    """What is asked of an upstream, by its OpenAI path."""

    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    EMBEDDING = "/v1/embeddings"
    RERANK = "/v1/rerank"
    IMAGE = "/v1/images/generations"
    IMAGE_EDIT = "/v1/images/edits"
    IMAGE_VARIATION = "/v1/images/variations"
    SPEECH = "/v1/audio/speech"
    TRANSCRIPTION = "/v1/audio/transcriptions"
    TRANSLATION = "/v1/audio/translations"
    TOKENIZE = "/tokenize"
    TEMPLATE = "/apply-template"
    INPUT_TOKENS = "/v1/chat/completions/input_tokens"

    @property
    def capability(self) -> str | None:
        """What a model must be able to do; None: any can."""
        return _CAPABILITIES[self]


# Routes that not every server has: Upstream.routes says which do.
BEYOND_OPENAI = frozenset({Route.TOKENIZE, Route.TEMPLATE, Route.INPUT_TOKENS})


_CAPABILITIES = {route: None if route in BEYOND_OPENAI else route.name.lower() for route in Route}

# Routes that are passed on to those who have them, with bodies and answers that are not looked into.
PASSED = frozenset(
    {Route.IMAGE, Route.IMAGE_EDIT, Route.IMAGE_VARIATION, Route.SPEECH, Route.TRANSCRIPTION, Route.TRANSLATION}
)


DECLARED = BEYOND_OPENAI | PASSED


@dataclass(frozen=True, slots=True)
class RawForm:
    """A multipart body to be passed on as it is, but for the model's name between `before` and `after`."""

    content_type: str
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)


class InferenceRequest(msgspec.Struct):
    """An OpenAI request body: the fields we act on are named, all others are kept in `body` and forwarded.

    `body` is owned by this request and may be changed in place before it is sent.
    """

    route: Route
    body: dict[str, Any]
    request_id: str
    path: str  # the path the client called, for events
    method: str = "POST"
    dialect: str = "openai"
    client: str | None = None  # name of the key used, for events
    address: str | None = None  # of the client, and the program that it says it is: for events
    user_agent: str | None = None
    stream: bool = False  # set by the gateway once defaults are merged
    patient: bool = False  # a whole reply may take as long as a stream's first byte
    usage_wanted: bool = False  # the client itself asked for the usage chunk of a stream
    load: LoadConfig | None = None  # how to load the model, if this request has to
    only: bool = False  # the loaded instance that `model` names, and no other loaded in its stead
    extras: Mapping[str, Any] | None = None  # fields for upstreams that know them (Upstream.extras), no others
    sizing: Sizing | None = None  # what the client says about its images
    overflow: Overflow | None = None  # what the client wants where its prompt does not fit; None: it does not say
    overflow_else: Overflow = Overflow.ERROR  # where neither client nor instance says anything
    form: RawForm | None = None  # what is sent in place of `body`
    headers: Sequence[tuple[bytes, bytes]] = ()  # the client's: which way the request came
    affinity: str | None = None  # what requests of one conversation have in common: they go to the same instance

    def __repr__(self) -> str:
        return f"InferenceRequest({self.request_id} {self.route} {self.model!r})"

    @property
    def model(self) -> str | None:
        """The model name as the client wrote it; None when absent or not a string."""
        name = self.body.get("model")
        return name if isinstance(name, str) else None


class Usage(msgspec.Struct):
    """Token counts of one request; zero where the upstream said nothing."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Dropped:
    """What of a prompt was left out because its instance could not hold it, on the client's or the operator's wish.

    tokens: None where the upstream cannot count them.
    """

    messages: int = 0
    tokens: int | None = None


class Timing(msgspec.Struct):
    """Seconds on the monotonic clock at which a request reached each stage; None = not reached.

    loading: seconds of its wait in which its instance was being loaded. first_token: of streams, or told by its engine.
    """

    accepted: float
    leased: float | None = None
    loading: float = 0.0
    first_byte: float | None = None
    first_token: float | None = None
    finished: float | None = None


class Outcome(msgspec.Struct):
    """How a request ended, filled in as it goes."""

    usage: Usage = msgspec.field(default_factory=Usage)
    finish_reason: str | None = None
    status: int = 0
    first_token: float | None = None  # when the first block of a stream was there, on the monotonic clock
    writing: float = 0.0  # seconds for which the engine says that it wrote, where it says so
