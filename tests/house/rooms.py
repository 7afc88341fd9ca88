"""Who may import whom: the walls between the rooms of `lanhaven`, as ARCHITECTURE.md draws them.

The table names rooms that may not be built yet; a module that stands in no room is itself a finding.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType

from tests.house.source import ROOT, Finding, Source, dotted

# Module (and everything below it) -> room. The longest match wins.
ROOMS: Mapping[str, str] = MappingProxyType(
    {
        "lanhaven": "sdk names",
        "lanhaven.__main__": "main",
        "lanhaven.errors": "errors",
        "lanhaven.wire": "wire",
        "lanhaven.types": "types",
        "lanhaven.events": "events",
        "lanhaven.config": "config",
        "lanhaven.config.environ": "config.environ",
        "lanhaven.formats": "formats",
        "lanhaven.packed": "packed",
        "lanhaven.lmstudio": "lmstudio",
        "lanhaven.downloads": "downloads",
        "lanhaven.engines": "engines",
        "lanhaven.providers": "providers",
        "lanhaven.providers.base": "providers.base",
        # what providers with child processes of their own have in common
        "lanhaven.providers.children": "providers.base",
        "lanhaven.providers.defaults": "providers.base",
        "lanhaven.providers.settings": "providers.base",
        "lanhaven.providers.ignoring": "providers.base",
        # what those have in common that drive other machines
        "lanhaven.providers.hosts": "providers.base",
        "lanhaven.residency": "residency",
        "lanhaven.residency.policy": "residency.policy",
        "lanhaven.upstream": "upstream",
        "lanhaven.catalog": "catalog",
        "lanhaven.models_file": "catalog",
        "lanhaven.importer": "importer",
        "lanhaven.gateway": "gateway",
        "lanhaven.admission": "gateway",
        "lanhaven.capable": "gateway",
        "lanhaven.inference": "gateway",
        "lanhaven.reloading": "gateway",
        "lanhaven.context": "gateway",
        "lanhaven.fitting": "gateway",
        "lanhaven.parameters": "gateway",
        "lanhaven.told": "gateway",
        "lanhaven.metrics": "metrics",
        "lanhaven.exposition": "metrics",
        "lanhaven.store": "store",
        "lanhaven.history": "history",
        "lanhaven.media": "media",
        "lanhaven.runfile": "runfile",
        "lanhaven.connect": "connect",
        "lanhaven.network": "network",
        "lanhaven.keys": "keys",
        "lanhaven.dialects": "dialects",
        "lanhaven.dialects.base": "dialects.base",
        "lanhaven.dialects.background": "dialects.base",
        "lanhaven.dialects.calls": "dialects.base",
        "lanhaven.dialects.chunks": "dialects.base",
        "lanhaven.dialects.counting": "dialects.base",
        "lanhaven.dialects.delta": "dialects.base",
        "lanhaven.dialects.forms": "dialects.base",
        # OpenAI's words, which other dialects speak as well: they stand beside its dialect, in the shared room
        "lanhaven.dialects.openai.errors": "dialects.base",
        "lanhaven.dialects.openai.fields": "dialects.base",
        # Anthropic's list of models, at the address that OpenAI's has as well
        "lanhaven.dialects.anthropic.models": "dialects.base",
        "lanhaven.dialects.openai.replies": "dialects.base",
        "lanhaven.dialects.openai.tools": "dialects.base",
        "lanhaven.dialects.tools": "dialects.base",
        "lanhaven.server": "server",
        "lanhaven.client": "client",
        "lanhaven.testing": "testing",
        "lanhaven.cli": "cli",
    }
)

_EVERY_ROOM = frozenset(ROOMS.values())

# Room -> the other rooms it may import. A room may import itself, but see SIBLINGS_APART.
MAY_IMPORT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "sdk names": frozenset({"client", "errors", "types"}),
        "main": frozenset({"cli"}),
        "errors": frozenset(),
        "wire": frozenset({"errors"}),
        "types": frozenset({"errors"}),
        "events": frozenset({"types"}),
        "config": frozenset({"config.environ", "errors", "types"}),
        "config.environ": frozenset(),
        "formats": frozenset({"types", "errors"}),
        "packed": frozenset({"types", "errors", "config", "formats"}),
        "lmstudio": frozenset({"types", "errors", "wire", "events"}),
        "downloads": frozenset({"types", "errors", "packed"}),
        "engines": frozenset({"errors", "config", "types", "wire"}),
        "providers.base": frozenset({"types", "errors", "wire", "events", "config", "formats", "engines"}),
        "providers": frozenset(
            {"providers.base", "types", "errors", "events", "config", "formats", "engines", "lmstudio", "wire"}
        ),
        "residency.policy": frozenset({"types"}),
        "residency": frozenset({"residency.policy", "types", "errors", "events", "providers.base"}),
        "upstream": frozenset({"types", "errors", "wire"}),
        "catalog": frozenset({"types", "errors", "config", "formats", "providers.base"}),
        "importer": frozenset({"types", "errors", "config", "formats", "catalog"}),
        "gateway": frozenset({"catalog", "residency", "upstream", "media", "events", "types", "errors", "wire"}),
        "metrics": frozenset({"events", "types"}),
        "store": frozenset({"events", "types", "errors"}),
        "history": frozenset({"store", "events", "types", "errors", "wire"}),
        "media": frozenset({"types", "errors"}),
        "runfile": frozenset({"types", "errors", "config", "config.environ"}),
        "connect": frozenset({"errors", "config"}),
        "network": frozenset({"types", "errors", "config"}),
        "keys": frozenset({"types", "errors", "events", "config", "network", "store"}),
        "dialects.base": frozenset({"types", "errors", "wire", "gateway", "upstream", "media", "store", "downloads"}),
        "dialects": frozenset(
            {"dialects.base", "types", "errors", "wire", "events", "gateway", "upstream", "media", "lmstudio", "store"}
            | {"downloads"}
        ),
        "server": _EVERY_ROOM - {"client", "cli", "main", "sdk names", "testing"},
        "testing": _EVERY_ROOM - {"client", "cli", "main", "sdk names"},
        # of config only the reader of the environment, which imports nothing: the SDK pulls no settings and no pydantic
        # and the note of the server that this user runs, which says whom to trust
        "client": frozenset({"config.environ", "types", "errors", "wire", "runfile"}),
        "cli": frozenset({"client", "config", "catalog", "importer", "keys", "packed", "runfile", "types", "errors"})
        | {"network", "connect"}
        # of providers only what doctor asks of the engines
        | {"config.environ", "testing", "providers", "providers.base"},
    }
)

# Rooms whose files do not know each other: one provider never needs another. Files that share the first word of their
# name (`lmstudio`, `lmstudio_names`) are one.
SIBLINGS_APART = frozenset({"providers", "dialects"})
SIBLINGS_ALLOWED = frozenset(
    # beside jobs the routes under /api/v1/ai are OpenAI's own: one answer, the list of models
    {("lanhaven.dialects.jobs.dialect", "lanhaven.dialects.openai.dialect")}
    # a batch is made of requests to the routes of others
    | {("lanhaven.dialects.batch.dialect", f"lanhaven.dialects.{each}.dialect") for each in ("openai", "responses")}
)

# Room -> the packages from outside that it may import; rooms not named here may import what pyproject.toml declares.
OUTSIDE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "errors": frozenset({"msgspec"}),
        "wire": frozenset({"msgspec"}),
        "types": frozenset({"msgspec"}),
        "residency.policy": frozenset(),
        "client": frozenset({"httpx2", "msgspec"}),
    }
)

# Import names that are not the declared name with its dashes turned.
IMPORTED_AS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "ruamel.yaml": frozenset({"ruamel"}),
        "python-dotenv": frozenset({"dotenv"}),
        "pillow": frozenset({"PIL"}),
        "llama-cpp-python": frozenset({"llama_cpp"}),
        "pydantic": frozenset({"pydantic", "pydantic_core"}),  # one release, two packages
    }
)

# What a pure room must not touch: it is given the time, it is never told to wait, and it says nothing.
IMPURE = frozenset(
    {"asyncio", "concurrent", "datetime", "io", "logging", "os", "pathlib", "queue", "random", "secrets"}
    | {"selectors", "socket", "subprocess", "sys", "threading", "time"}
)


def room_of(module: str) -> str | None:
    """The room of a module; None if it stands in none."""
    name = module
    while name:
        if name in ROOMS and (name != "lanhaven" or module == "lanhaven"):
            return ROOMS[name]
        name = name.rpartition(".")[0]
    return None


def unplaced(sources: Sequence[Source]) -> Iterator[Finding]:
    """Modules that stand in no room."""
    for source in sources:
        if room_of(source.module) is None:
            yield Finding(source.path, 1, "stands in no room: place it in tests/house/rooms.py and ARCHITECTURE.md")


def walls(sources: Sequence[Source]) -> Iterator[Finding]:
    """Imports of other rooms that the table does not allow, also those inside functions."""
    modules = frozenset(source.module for source in sources)
    for source in sources:
        room = room_of(source.module)
        for node, target in _inner_imports(source, modules):
            if room is None or (reason := _forbidden(source, room, target)) is None:
                continue
            if room == "cli" and room_of(target) == "server":
                if _one_family(source.module, "lanhaven.cli.up") and _costs_no_start(source.tree, node):
                    continue
                reason = "the command line imports the server only in cli/up*.py, inside a function or for types alone"
            yield Finding(source.path, node.lineno, f"imports {target}: {reason}")


def _forbidden(source: Source, room: str, target: str) -> str | None:
    target_room = room_of(target)
    if target_room is None:
        return "that is no room of this house"
    if target_room != room:
        if target_room in MAY_IMPORT[room]:
            return None
        allowed = ", ".join(sorted(MAY_IMPORT[room])) or "no other room"
        return f"{room} may import {allowed}; let it be handed in, or move the code"
    if room in SIBLINGS_APART and not _one_family(source.module, target):
        return f"one of {room} never imports another; what both need belongs into base"
    return None


def _one_family(module: str, target: str) -> bool:
    """Files of one adapter, or the registry that names them all."""
    parts, others = module.split("."), target.split(".")
    if len(parts) < 3 or len(others) < 3 or (module, target) in SIBLINGS_ALLOWED:
        return True
    return parts[2].split("_")[0] == others[2].split("_")[0]


def _inner_imports(source: Source, modules: frozenset[str]) -> Iterator[tuple[ast.stmt, str]]:
    """Every import of a module of ours. `__version__` is no dependency on what else the package names."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, name.name) for name in node.names if name.name.split(".")[0] == "lanhaven")
        elif isinstance(node, ast.ImportFrom):
            base = _base(source, node)
            if base.split(".")[0] == "lanhaven":
                names = [name.name for name in node.names if (base, name.name) != ("lanhaven", "__version__")]
                yield from ((node, _module_of(base, name, modules)) for name in names)


def _base(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    is_package = source.path.endswith("/__init__.py")
    parts = source.module.split(".")
    above = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*above, node.module] if node.module else above)


def _module_of(base: str, name: str, modules: frozenset[str]) -> str:
    """`from base import name`: the module base.name where there is one (or a room planned by that name), else base."""
    inner = f"{base}.{name}"
    return inner if inner in modules or inner in ROOMS else base


def _costs_no_start(tree: ast.Module, node: ast.stmt) -> bool:
    """Whether importing the module leaves this import undone: it stands in a function, or under TYPE_CHECKING."""
    for each in ast.walk(tree):
        match each:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                inside = each.body
            case ast.If(test=test) if dotted(test).endswith("TYPE_CHECKING"):
                inside = each.body
            case _:
                continue
        if any(node in ast.walk(statement) for statement in inside):
            return True
    return False


def outside(sources: Sequence[Source]) -> Iterator[Finding]:
    """Imports from outside that a room may not have, or that pyproject.toml does not declare."""
    for source in sources:
        room = room_of(source.module)
        for node, package in _outer_imports(source.tree):
            if room and package not in OUTSIDE.get(room, {package}):
                allowed = ", ".join(sorted(OUTSIDE[room])) or "nothing"
                yield Finding(source.path, node.lineno, f"imports {package}: {room} may import {allowed} from outside")
            elif package not in _declared():
                yield Finding(source.path, node.lineno, f"imports {package}: declare it in pyproject.toml")


def purity(sources: Sequence[Source]) -> Iterator[Finding]:
    """The residency plan is a function of its arguments: no clock, no waiting, no logging, no input or output."""
    for source in sources:
        if room_of(source.module) == "residency.policy":
            for node, name in _top_names(source.tree):
                if name in IMPURE:
                    yield Finding(source.path, node.lineno, f"imports {name}: the plan is pure; hand the value in")


def _outer_imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    known = sys.stdlib_module_names | {"lanhaven"}
    yield from ((node, name) for node, name in _top_names(tree) if name not in known)


def _top_names(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, name.name.split(".")[0]) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node, node.module.split(".")[0]


@cache
def _declared() -> frozenset[str]:
    """The import names of what pyproject.toml declares, extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower() for line in lines}
    return frozenset(one for name in declared for one in IMPORTED_AS.get(name, {name.replace("-", "_")}))
