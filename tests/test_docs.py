"""What exists stands in the documentation: every setting, route, event and error code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lanhaven import errors, events
from lanhaven.config import Settings
from lanhaven.events import GatewayEvent
from lanhaven.server.app import Router
from lanhaven.server.services import Services

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def subclasses(root: type) -> set[type]:
    return {root, *(each for child in root.__subclasses__() for each in subclasses(child))}


@pytest.mark.parametrize("code", sorted({each.code for each in subclasses(errors.GatewayError)}))
def test_every_error_code_is_explained(code: str) -> None:
    assert f"`{code}`" in text("errors.md")


def test_every_documented_error_exists() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \| \d", text("errors.md"), re.MULTILINE))
    assert documented <= {each.code for each in subclasses(errors.GatewayError)}


def test_error_statuses_are_documented_right() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", text("errors.md"), re.MULTILINE))
    for each in subclasses(errors.GatewayError):
        if each.code in rows and each.code in vars(each).values():
            assert rows[each.code] == str(each.status), each


@pytest.mark.parametrize("event", sorted(subclasses(GatewayEvent) - {GatewayEvent}, key=lambda each: each.__name__))
def test_every_event_is_documented(event: type[GatewayEvent]) -> None:
    assert f"`{event.name}`" in text("events.md")


def test_every_event_is_emitted_somewhere() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src/lanhaven/residency").glob("*.py"))
    sources += (ROOT / "src/lanhaven/gateway.py").read_text()
    for event in subclasses(events.GatewayEvent) - {GatewayEvent}:
        assert f"{event.__name__}(" in sources, f"nothing emits {event.__name__}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in text("configuration.md")
    assert re.search(rf"^#? ?{name}:", (ROOT / "config.example.yaml").read_text(), re.MULTILINE)


def test_every_route_is_documented(services: Services, router: Router, native_paths: set[str]) -> None:
    api = text("api.md")
    paths = {re.sub(r"/$", "/{id}", path) for path in router.paths() if path.startswith("/v1/")}
    for path in paths | native_paths:
        assert path.replace("{key:path}", "{key}") in api, f"{path} is not in docs/api.md"


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")) + [ROOT / "README.md", ROOT / "ARCHITECTURE.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
