"""Requests as real programs send them: tests/clients/fixtures, one file a program.

A string "<<123>>" stands for 123 characters of prose, which is not ours to copy and no part of the contract; its length
is: a first prompt of 76 kB has to arrive whole. "<<as in first>>" is what the request `first` has in this field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx2

FOLDER = Path(__file__).parent / "fixtures"
PROSE = re.compile(r"<<(\d+)>>")
WORDS = "The quick brown fox jumps over the lazy dog while nobody looks. "
SAME = "<<as in first>>"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request; `body` is what is sent as JSON, None for none."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] | None

    def of(self, model: str, key: str = "not-needed") -> Recorded:
        """The same for another model, and with another key."""
        headers = (
            {**self.headers, "Authorization": f"Bearer {key}"} if "Authorization" in self.headers else self.headers
        )
        return replace(self, headers=headers, body={**(self.body or {}), "model": model})

    async def send(self, http: httpx2.AsyncClient) -> httpx2.Response:
        content = None if self.body is None else json.dumps(self.body).encode()
        request = http.build_request(self.method, self.path, headers=self.headers, content=content)
        return await http.send(request)


def filler(length: int) -> str:
    """Prose of this length."""
    return (WORDS * (length // len(WORDS) + 1))[:length]


def _grown(value: Any) -> Any:
    match value:
        case dict():
            return {name: _grown(each) for name, each in value.items()}
        case list():
            return [_grown(each) for each in value]
        case str():
            return PROSE.sub(lambda found: filler(int(found[1])), value)
        case _:
            return value


@cache
def recorded(program: str) -> dict[str, Recorded]:
    """The requests of a program (the name of its file), by name."""
    requests = json.loads((FOLDER / f"{program}.json").read_text(encoding="utf-8"))["requests"]
    first = requests.get("first", {}).get("body", {})
    found = {}
    for name, said in requests.items():
        body = said.get("body")
        if body is not None:
            body = _grown({field: first[field] if value == SAME else value for field, value in body.items()})
        found[name] = Recorded(said["method"], said["path"], said["headers"], body)
    return found


def programs() -> list[str]:
    """All that were recorded."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))
