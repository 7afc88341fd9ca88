"""Other model servers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE = 1.0  # seconds for an answer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a known server usually listens, and what it answers."""

    name: str
    url: str
    path: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A server that answered."""

    name: str
    url: str

    @property
    def text(self) -> str:
        return f"{self.name} at {self.url}"


def places(lmstudio: str) -> tuple[Place, ...]:
    """Where to look."""
    return (
        Place("LM Studio", lmstudio, "/api/v0/models"),
        Place("Ollama", "http://127.0.0.1:11434", "/api/version"),
        Place("llama-server", "http://127.0.0.1:8080", "/props"),
    )


def found(lmstudio: str) -> list[Neighbour]:
    """Those that run, all asked at once."""
    known = places(lmstudio)
    with ThreadPoolExecutor(len(known)) as threads:
        answers = list(threads.map(answers_as_expected, known))
    return [Neighbour(place.name, place.url) for place, yes in zip(known, answers, strict=True) if yes]


def answers_as_expected(place: Place) -> bool:
    """Whether the server there is the one meant: it answers its own path with a JSON object."""
    import httpx2

    try:
        local = urlsplit(place.url).hostname in ("127.0.0.1", "localhost", "::1")
        with httpx2.Client(trust_env=not local, timeout=PATIENCE) as client:
            response = client.get(place.url.rstrip("/") + place.path)
        return response.is_success and isinstance(response.json(), dict)
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return False


def names(lmstudio: str) -> Iterator[str]:
    """What is looked for."""
    return (place.name for place in places(lmstudio))
