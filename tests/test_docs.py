"""What exists stands in the documentation (settings, routes, events, errors, commands), and what stands there exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import TypeVar

import pytest
import typer
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from typer.core import TyperGroup

import lanhaven
from lanhaven.cli import app as command_line
from lanhaven.config import Settings
from lanhaven.dialects import all_dialects
from lanhaven.dialects.openai.dialect import OpenAIDialect
from lanhaven.errors import GatewayError
from lanhaven.events import GatewayEvent
from lanhaven.server.app import Router
from lanhaven.server.build import build
from lanhaven.server.services import Services
from tests.serving import MODELS, native_of, settings_for

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md"))]
T = TypeVar("T")
WORKERS = (
    "lanhaven.__main__",
    "lanhaven.engines.llamacpp_worker",
    "lanhaven.media.worker",
)  # programs: importing one runs it

# What needs mlx or llama-cpp-python, which may stand in another environment.
ELSEWHERE = ("lanhaven.engines.mlx.", "lanhaven.engines.llama_python.")

for module in walk_packages(lanhaven.__path__, "lanhaven."):  # so that every subclass is known
    if module.name not in WORKERS and not module.name.startswith(ELSEWHERE):
        import_module(module.name)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def subclasses(root: type[T]) -> set[type[T]]:
    return {root, *(each for child in root.__subclasses__() for each in subclasses(child))}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """The parts of a server that does not run."""
    return build(settings_for(tmp_path, {}, MODELS), lambda: False)


@pytest.fixture
def router(services: Services) -> Router:
    return Router(all_dialects(services.dialect_context))


@pytest.fixture
def native_paths(services: Services) -> set[str]:
    """Every path of the native API, those that the OpenAPI document leaves out too."""
    native = native_of(services)
    outside = {str(path) for route in native.routes if (path := vars(route).get("path")) is not None}
    return outside | set(described(native))


def described(native: FastAPI) -> dict[str, object]:
    paths: dict[str, object] = get_openapi(title="x", version="x", routes=native.routes)["paths"]
    return paths


ERRORS: set[type[GatewayError]] = subclasses(GatewayError)
EVENTS: set[type[GatewayEvent]] = subclasses(GatewayEvent) - {GatewayEvent}


def event_name(event: type[GatewayEvent]) -> str:
    return event.name


@pytest.mark.parametrize("code", sorted({each.code for each in ERRORS}))
def test_every_error_code_is_explained(code: str) -> None:
    assert f"`{code}`" in text("errors.md")


def test_every_documented_error_exists() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \| \d", text("errors.md"), re.MULTILINE))
    assert documented <= {each.code for each in ERRORS}


def test_error_statuses_are_documented_right() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", text("errors.md"), re.MULTILINE))
    for each in ERRORS:
        if "code" in vars(each) and each.code in rows:
            assert rows[each.code] == str(each.status), each


@pytest.mark.parametrize("event", sorted(EVENTS, key=event_name))
def test_every_event_is_documented(event: type[GatewayEvent]) -> None:
    assert f"`{event.name}`" in text("events.md")


def test_every_event_is_emitted_somewhere() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src/lanhaven/residency").glob("*.py"))
    sources += "".join((ROOT / f"src/lanhaven/{name}.py").read_text() for name in ("gateway", "told", "reloading"))
    sources += "".join(path.read_text() for path in (ROOT / "src/lanhaven").glob("**/lmstudio/*log*.py"))
    for event in EVENTS:
        assert f"{event.__name__}(" in sources, f"nothing emits {event.__name__}"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in text("configuration.md")
    assert re.search(rf"^#? ?{name}:", (ROOT / "config.example.yaml").read_text(), re.MULTILINE)


@pytest.mark.req("S0-94")
def test_every_route_is_documented(router: Router, native_paths: set[str]) -> None:
    api = text("api.md")
    paths = {re.sub(r"/$", "/{id}", path) for path in router.paths() if path.startswith("/v1/")}
    assert "/debug/stream" in native_paths
    assert {f"`{path}" for path in paths | native_paths if not re.search(rf"[` ]{re.escape(path)}[` ?]", api)} == set()


def test_every_documented_route_exists(router: Router, native_paths: set[str]) -> None:
    known = {re.sub(r"/$", "/{id}", path) for path in router.paths()} | native_paths | {"/"}
    told = re.findall(r"`(?:GET|POST|HEAD) (/[^`?]*)", text("api.md"))
    assert len(told) > 15
    assert [path for path in told if path not in known] == []


def test_openais_paths_without_v1_are_the_same_ones(services: Services) -> None:
    paths = set(OpenAIDialect(services.gateway).routes())
    assert {path.removeprefix("/v1") for path in paths if path.startswith("/v1/")} <= paths


def command_names(group: typer.Typer | TyperGroup, prefix: str = "") -> Iterator[str]:
    """Every command that the help lists, "keys add" among them."""
    found = typer.main.get_group(group) if isinstance(group, typer.Typer) else group
    for name, command in found.commands.items():
        if not command.hidden:
            yield prefix + name
        if isinstance(command, TyperGroup):
            yield from command_names(command, f"{prefix}{name} ")


def test_every_command_is_in_the_manual_of_the_command_line() -> None:
    names = set(command_names(command_line.build()))
    assert {"up", "load", "keys add", "config check"} <= names
    manual = text("cli.md")
    alone = {name for name in names if not re.search(rf"lanhaven {name}\b", manual)}
    told = {name for name in alone if re.search(rf"`{name.split()[-1]}`", manual)}
    assert alone - told == set()


def test_no_page_names_a_command_that_does_not_exist() -> None:
    names = set(command_names(command_line.build())) | {"serve", "models"}
    for page in (page for page in PAGES if page.name not in ("ARCHITECTURE.md", "CHANGELOG.md")):
        written = re.findall(r"(?:^|[`(]|\./)lanhaven ([a-z]+)\b", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert [word for word in written if word not in names] == [], page.name


def sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))


def test_no_message_names_a_command_or_a_variable_that_does_not_exist() -> None:
    names = set(command_names(command_line.build())) | {"serve", "models"}
    commands = re.findall(r"""["`(]lanhaven ([a-z]+)\b""", sources())
    assert len(commands) > 20
    assert sorted({word for word in commands if word not in names}) == []
    documented = set(re.findall(r"`([A-Z][A-Z_]+)`", text("configuration.md")))
    variables = set(re.findall(r"\b(?:GATEWAY|LANHAVEN|LM_?STUDIO)_[A-Z_]*[A-Z]\b", sources()))
    assert sorted(variables - documented - {"LANHAVEN_CONFIG", "LANHAVEN_IP_ALOWLIST"}) == []  # the last: an example


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" in target or target.startswith("mailto:"):
            continue
        page = path.parent / target if target else path
        assert page.exists(), f"{path.name} links to {target}"
        if anchor:
            assert anchor[1:] in anchors(page), f"{path.name} links to {target}{anchor}"


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [path for path in (ROOT / "src/lanhaven").iterdir() if not path.name.startswith(("_", "py.typed"))]
    names = [f"`{path.name}/`" if path.is_dir() else f"`{path.name}`" for path in rooms]
    assert sorted(name for name in names if name not in text) == []


def anchors(page: Path) -> set[str]:
    """What headings can be linked to, in the way of GitHub."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_readme() -> None:
    """By way of the index, which has them all."""
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#/]+)", text("README.md")))
    assert {page.name for page in DOCS.glob("*.md")} - linked == {"README.md"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200
