"""What a request is, what an error reply means, and when to ask again. Pure: no input or output, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any
from urllib.parse import quote

from lanhaven import errors, wire
from lanhaven.client._errors import ConnectionFailed, UnsupportedVersion, error_class
from lanhaven.client._settings import ClientSettings
from lanhaven.client._shape import EMPTY, nothing

FIRST_PAUSE = 0.5  # seconds before the first repetition; each further one waits twice as long
LONGEST_PAUSE = 8.0
LONGEST_ORDER = 60.0  # a Retry-After beyond this is left to the caller
REPEATED = frozenset({408, 429, 502, 503, 504})  # statuses that pass by themselves

# S3-x7
NEEDED: Mapping[str, tuple[int, ...]] = {"streaming": (0, 2, 18), "audio": (0, 2, 20), "images": (0, 2, 21)}
OLDEST = (0, 2, 18)


class Repeat(Enum):
    """What may be sent again."""

    ANY = "any"  # it changes nothing: whatever happened
    COMPUTE = "compute"  # it costs: not when it was too slow
    ONCE = "once"  # it changes something: only if it surely did not begin


class Broken(Enum):
    """How far a request had come when its connection failed."""

    UNSENT = "unsent"
    CUT = "cut"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. timeout: seconds from sending to the last byte of the reply; of a stream, between two pieces."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=nothing)
    files: Mapping[str, tuple[str, bytes]] | None = None  # then `body` holds the form's other fields
    headers: Mapping[str, str] = field(default_factory=nothing)
    timeout: float = 30.0
    repeat: Repeat = Repeat.COMPUTE
    feature: str | None = None  # what the server lacks if it has no such route


def get(path: str, settings: ClientSettings, query: Mapping[str, str] = EMPTY, feature: str | None = None) -> Call:
    """A question that changes nothing."""
    return Call("GET", path, query=query, timeout=settings.timeout, repeat=Repeat.ANY, feature=feature)


def name_in_path(name: str) -> str:
    """For use as the rest of a path: model keys may have slashes."""
    return quote(name, safe="/:@")


# Asking again


def pause_after_break(call: Call, attempt: int, retries: int, how: Broken, jitter: float) -> float | None:
    """Seconds until the next attempt after `attempt` (0 = the first) broke; None = give up. jitter: 0..1."""
    allowed = {Repeat.ANY: set(Broken), Repeat.COMPUTE: {Broken.UNSENT, Broken.CUT}, Repeat.ONCE: {Broken.UNSENT}}
    if attempt >= retries or how not in allowed[call.repeat]:
        return None
    return backoff(attempt, jitter)


def pause_after_error(
    call: Call, attempt: int, retries: int, error: errors.GatewayError, jitter: float
) -> float | None:
    """The same after an error reply. The server's word (x-should-retry, Retry-After) counts more than the status."""
    if attempt >= retries or error.retry is False:
        return None
    status = error.context.get("status")
    passing = status in REPEATED and not isinstance(error, errors.ClientError)
    if call.repeat is Repeat.ONCE:  # a proxy between may answer 503 for a load that has begun
        passing = passing and status in (429, 503) and error.retry_after is not None
    if not (error.retry or passing) or (error.retry_after or 0) > LONGEST_ORDER:
        return None
    return max(error.retry_after or 0.0, backoff(attempt, jitter))


def backoff(attempt: int, jitter: float) -> float:
    """Half to all of 0.5, 1, 2 ... 8 s: clients that failed together do not come back together."""
    most = min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE)
    return most * (0.5 + jitter / 2)


# Replies


def decoded(body: bytes, call: Call, settings: ClientSettings, headers: Mapping[str, str]) -> Any:
    """The JSON of a reply with a good status.

    LM Studio answers 200 with an error object for what it does not have (C5): that is an error here too.
    """
    value = _json(body)
    if value is None:
        raise errors.UpstreamError(
            f"What answers at {settings.base_url} is no model server: its reply to {call.path} is not JSON.",
            facts=_about(call, settings, headers),
        )
    if isinstance(value, dict) and is_error(value):
        raise error_of(200, value, call, settings, headers)
    return value


def is_error(value: Mapping[str, Any]) -> bool:
    """An error object, whatever its status was. (A finished Response has `error: null`, a failed one an `id`.)"""
    return bool(value.get("error")) and "id" not in value


def refusal(
    status: int, body: bytes, call: Call, settings: ClientSettings, headers: Mapping[str, str]
) -> errors.GatewayError:
    """The error of a reply with a bad status."""
    value = _json(body)
    return error_of(status, value if isinstance(value, dict) else {}, call, settings, headers)


def error_of(
    status: int, value: Mapping[str, Any], call: Call, settings: ClientSettings, headers: Mapping[str, str] = EMPTY
) -> errors.GatewayError:
    """An error object in the words of OpenAI, of the native API or of LM Studio -> the class it was on the server."""
    inner = value.get("error")
    record = {**value, **inner} if isinstance(inner, Mapping) else dict(value)
    text = inner if isinstance(inner, str) else record.get("message")
    if not isinstance(text, str):
        text = f"The server at {settings.base_url} answered {call.path} with status {status}."
    code, details = record.get("code"), record.get("details")
    issues = _issues(details)
    said = {name: item for name, item in record.items() if name not in _WORDS}
    facts = said | _about(call, settings, headers) | ({"status": status} if status != 200 else {})
    facts |= {"code": code} if code is not None else {}
    if issues:
        text = f"{text}: {'; '.join(issues)}"
    param, hint = record.get("param"), record.get("hint")
    kind = _kind(status, code, text, call)
    return kind(
        text,
        param=param if isinstance(param, str) else None,
        hint=hint if isinstance(hint, str) else None,
        retry_after=retry_after(headers),
        retry={"true": True, "false": False}.get(headers.get("x-should-retry", "")),
        facts=facts | {"errors": details if issues else [{"path": [param] if param else [], "message": text}]},
    )


_WORDS = frozenset({"error", "message", "param", "hint", "code", "status", "details", "type"})


def _kind(status: int, code: Any, text: str, call: Call) -> type[errors.GatewayError]:
    absent = text.startswith("Unexpected endpoint")  # LM Studio, with status 200
    if status == 200:
        status = code if isinstance(code, int) and 400 <= code <= 599 else 502  # llama.cpp has its status there
    kind = error_class(status, code)
    if absent or (call.feature is not None and kind in (errors.NotFound, errors.MethodNotAllowed)):
        return errors.UnsupportedFeature
    if code == "too_many_attempts":
        return errors.Unauthorized
    return kind


def _issues(details: Any) -> list[str]:
    """A failed validation names its fields: "loadConfig.contextLength: Input should be greater than 0"."""
    listed = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    return [f"{'.'.join(str(part) for part in each.get('path', ()))}: {each.get('message', '')}" for each in listed]


def _about(call: Call, settings: ClientSettings, headers: Mapping[str, str]) -> dict[str, Any]:
    request_id = headers.get("x-request-id")
    about = {"endpoint": f"{settings.base_url}{call.path}", "method": call.method}
    return about | ({"request_id": request_id} if request_id else {})


def broken(how: Broken, reason: str, call: Call, settings: ClientSettings) -> ConnectionFailed:
    """The error of a connection."""
    url = settings.base_url
    text = {
        Broken.UNSENT: f"No server at {url}",
        Broken.CUT: f"The connection to {url} broke off",
        Broken.SLOW: f"The server at {url} did not answer within {call.timeout:g} s",
    }[how]
    facts = _about(call, settings, EMPTY) | {"reason": reason}
    hint = "a longer timeout" if how is Broken.SLOW else "is it running? lanhaven status"
    return ConnectionFailed(f"{text}: {reason}" if reason else text, hint=hint, facts=facts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a Retry-After in seconds; one that is a date is measured against the reply's own Date."""
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None


def _json(body: bytes) -> Any:
    try:
        return wire.read_json(body)
    except errors.InvalidRequest:
        return None


# Versions


def check_version(version: str | None, feature: str | None = None) -> None:
    """UnsupportedVersion if LM Studio says a version that is too old, for anything or for `feature` (S3-x7)."""
    found = _numbers(version)
    needed = NEEDED.get(feature or "", OLDEST)
    if found is not None and found < needed:
        wanted = ".".join(map(str, needed))
        raise UnsupportedVersion(
            f"LM Studio {version} is too old{f' for {feature}' if feature else ''}: {wanted} is needed.",
            hint="update LM Studio",
            retry=False,
            facts={"version": version, "needed": wanted, "feature": feature},
        )


def _numbers(version: str | None) -> tuple[int, ...] | None:
    """0.3.5+12 -> (0, 3, 5); None where it is no such version."""
    parts = (version or "").lstrip("v").split("+")[0].split("-")[0].split(".")
    return tuple(int(part) for part in parts) if all(part.isascii() and part.isdigit() for part in parts) else None
