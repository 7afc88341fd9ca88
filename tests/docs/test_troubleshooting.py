"""docs/troubleshooting.md: what it quotes is what the program says, and the advice that people need stands in it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"\*\*`([^`]+)`\*\*", TEXT)


@cache
def said() -> str:
    """Every text in the program, with its variable parts as "…"."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def section(title: str) -> str:
    """What stands below a heading, in one line."""
    return " ".join(TEXT.split(f"\n## {title}\n", 1)[1].partition("\n## ")[0].split())


def entry(beginning: str) -> str:
    """The paragraph that begins with this, in one line."""
    (found,) = [each for each in TEXT.split("\n\n") if each.startswith(f"**{beginning}")]
    return " ".join(found.split())


def test_there_is_something_to_look_up() -> None:
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("message", QUOTED)
def test_what_is_quoted_is_what_the_program_says(message: str) -> None:
    for part in filter(None, (part.strip() for part in message.split("…"))):
        assert part in said(), part


def test_every_code_that_a_person_can_meet_is_explained() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) > 30
    assert [code for code in listed if f"`{code}`" not in TEXT and f" {code}`" not in TEXT] == []


@pytest.mark.req("S0-90")
def test_connections_are_gone_through_from_near_to_far() -> None:
    text = section("It cannot be reached")
    order = ["lanhaven up", "lanhaven status", "firewall", "ping", "/livez"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "ip_allowlist" in section("It does not let you in")


@pytest.mark.req("S0-90")
def test_a_refused_key_is_explained() -> None:
    text = entry("`Unauthorized`")
    assert "`X-API-Key: KEY`" in text
    assert "`Authorization: Bearer KEY`" in text
    assert "rotate" in text


@pytest.mark.req("S0-90", "S1-45")
def test_a_model_that_does_not_fit_is_explained() -> None:
    text = entry("`Model … needs …`")
    assert "1.5 to 2 times the size of its file" in text
    for remedy in ("shorter context", "smaller quantization", "lower `gpu.ratio`", '"gpu": {"ratio": 0}', "--estimate"):
        assert remedy in text


@pytest.mark.req("S0-90", "S1-46")
def test_what_makes_it_faster_is_told() -> None:
    text = entry("It is slow.")
    for remedy in (
        "/debug/metrics",
        "shorter context",
        "more layers on the GPU",
        "smaller model",
        "Q4 or Q5 instead of Q8",
    ):
        assert remedy in text
    assert "Close the connection" in entry("An answer that is no longer wanted.")


@pytest.mark.req("S1-42", "S1-46")
def test_a_timeout_is_found_by_the_words_of_clients() -> None:
    text = entry("`… did not answer completely within …`")
    assert "timeout of 120000ms exceeded" in text
    assert "ECONNABORTED" in text
    assert "Stream" in text
    assert "`PROXY_TIMEOUT`" in text


@pytest.mark.req("S1-44")
def test_another_server_is_diagnosed_step_by_step() -> None:
    text = section("Another server behind LanHaven")
    order = ["Developer", "Local Server", "/v1/models", "port"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert "`lsof -i :8002` and `netstat`" in " ".join(TEXT.split())


@pytest.mark.req("S0-89", "S0-91", "S0-88")
def test_a_client_is_told_how_to_behave() -> None:
    text = section("A client that behaves")
    assert text.startswith("Health, status, load, chat, unload")
    for advice in ("in the environment", "rotate", "status code", "`Retry-After`", "three times", "Do not load and unload",
                   "Unload what you loaded", "`/debug/metrics` (memory", "a minute or more"):  # fmt: skip
        assert advice in text
