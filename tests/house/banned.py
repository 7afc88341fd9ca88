"""What no file may say: calls, imports, handlers and words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from tests.house.source import Finding, Source, calls, dotted, imported_modules

# File -> why it may catch everything. A file that no longer does comes off the list.
BROAD_HANDLERS: Mapping[str, str] = MappingProxyType(
    {
        "src/lanhaven/formats/gguf_source.py": "closes the descriptor, then raises again",
        "src/lanhaven/residency/engine.py": "a provider is a plug-in: what it raises fails its waiters, not the pool",
        "src/lanhaven/catalog.py": "a provider is a plug-in: a defect of one must not end the asking of the others",
        "src/lanhaven/runfile.py": "removes the half-written note, then raises again",
        "src/lanhaven/server/app.py": "the last resort: a defect is logged and answered without its insides",
        "src/lanhaven/dialects/lmstudio/ws/connection.py": "the last resort: a defect is logged, and its caller hears",
        "src/lanhaven/server/websocket.py": "the last resort: whatever the application raises, the client sees no trace",
        "src/lanhaven/server/cycle.py": "the last resort: whatever the application raises, the client sees no trace",
        "src/lanhaven/media/worker.py": "Pillow's parsers raise whatever they stumble over: a damaged image, no more",
        "src/lanhaven/engines/serving/server.py": "the last resort: an answer that never comes would hold its client",
        "src/lanhaven/engines/serving/child.py": "files of strangers, read by a large library: whatever it raises is told",
        "src/lanhaven/server/steady.py": "a defect in one step must not end all that would follow, unseen",
        "src/lanhaven/server/listener.py": "closes the sockets opened so far, then raises again",
        "src/lanhaven/server/shutdown.py": "one broken callback must not keep the others from hearing of the end",
        "src/lanhaven/server/sockets.py": "closes the socket, then raises again",
    }
)

GETATTRS = 3

_BANNED_WORDS = frozenset(
    {"enhanced", "optimized", "improved", "advanced", "smart", "resilient", "unified"}
    | {"manager", "managers", "helper", "helpers", "util", "utils", "wrapper", "wrappers"}
)
_PICKLERS = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"})
_MOCKS = frozenset({"mock", "pytest_mock", "asyncmock"})
_SHELLS = frozenset({"os.system", "os.popen", "asyncio.create_subprocess_shell", "subprocess.getoutput"})
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def environment(sources: Sequence[Source]) -> Iterator[Finding]:
    """The process environment read outside of config."""
    for source in sources:
        if source.path in {"src/lanhaven/config.py", "src/lanhaven/config/environ.py"}:
            continue
        attributes = (node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute))
        places: list[tuple[ast.expr | ast.stmt, str]] = [(node, dotted(node)) for node in attributes]
        for node, name in [*places, *imported_modules(source.tree)]:
            if name in {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}:
                yield Finding(source.path, node.lineno, f"{name}: only config reads the environment; hand the value in")


def prints(sources: Sequence[Source]) -> Iterator[Finding]:
    """`print` outside of the command line."""
    for source in sources:
        if not source.path.startswith("src/lanhaven/cli/"):
            yield from _calls_of(source, {"print"}, "print belongs to cli; emit an event or log")


def hasattrs(sources: Sequence[Source]) -> Iterator[Finding]:
    """`hasattr`."""
    for source in sources:
        yield from _calls_of(source, {"hasattr"}, "hasattr: give the type a field or a Protocol, or match on classes")


def getattrs(sources: Sequence[Source]) -> Iterator[Finding]:
    """`getattr` where the whole project has more than three."""
    advice = f"getattr: at most {GETATTRS} in the whole project; use a mapping, match, or a field"
    found = [finding for source in sources for finding in _calls_of(source, {"getattr"}, advice)]
    yield from found if len(found) > GETATTRS else ()


def wall_clock(sources: Sequence[Source]) -> Iterator[Finding]:
    """The wall clock where a duration may be meant: it jumps when the clock is set."""
    advice = "durations come from time.monotonic(), dates from datetime.now(UTC)"
    for source in sources:
        yield from _calls_of(source, {"time.time"}, advice)
        yield from _imports_of(source, {"time.time"}, advice)


def shells(sources: Sequence[Source]) -> Iterator[Finding]:
    """Commands that go through a shell."""
    for source in sources:
        yield from _calls_of(source, _SHELLS, "start programs from a list of arguments, not through a shell")
        for call, _ in calls(source.tree):
            for keyword in call.keywords:
                off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "shell" and not off:
                    yield Finding(source.path, call.lineno, "shell=: start programs from a list of arguments")


def pickles(sources: Sequence[Source]) -> Iterator[Finding]:
    """Formats whose reading runs code."""
    for source in sources:
        for node, name in imported_modules(source.tree):
            if name.split(".")[0] in _PICKLERS:
                yield Finding(source.path, node.lineno, f"{name}: reading it runs code; use JSON, msgspec or SQLite")


def unsafe_yaml(sources: Sequence[Source]) -> Iterator[Finding]:
    """YAML readers that make objects, expand aliases without limit, or lose comments."""
    for source in sources:
        for node, name in imported_modules(source.tree):
            if name.split(".")[0] == "yaml":
                yield Finding(source.path, node.lineno, "PyYAML (yaml.load): use ruamel.yaml, safe or round-trip")
        for call, name in calls(source.tree):
            kinds = (keyword.value for keyword in call.keywords if keyword.arg == "typ")
            if name.endswith("YAML") and any("unsafe" in ast.unparse(kind) for kind in kinds):
                yield Finding(source.path, call.lineno, 'YAML(typ="unsafe") makes objects: use "safe" or "rt"')


def base_http_middleware(sources: Sequence[Source]) -> Iterator[Finding]:
    """Starlette's middleware base class: with it, nobody ever learns that the client left."""
    for source in sources:
        for node in ast.walk(source.tree):
            name = node.name if isinstance(node, ast.alias) else dotted(node)
            if name.rpartition(".")[2] == "BaseHTTPMiddleware" and isinstance(
                node, ast.alias | ast.Name | ast.Attribute
            ):
                yield Finding(source.path, node.lineno, "BaseHTTPMiddleware hides disconnects: write pure ASGI")
        for call, name in calls(source.tree):
            if name.endswith(".middleware") and call.args:
                yield Finding(source.path, call.lineno, "@app.middleware is BaseHTTPMiddleware: write pure ASGI")


def mocks(sources: Sequence[Source]) -> Iterator[Finding]:
    """Mock libraries."""
    advice = "no mocks: use the scripted server, an injected clock, or a small real object"
    for source in sources:
        for node, name in imported_modules(source.tree):
            if name.startswith("unittest.mock") or name.split(".")[0] in _MOCKS:
                yield Finding(source.path, node.lineno, advice)
        for parameter in ast.walk(source.tree):
            if isinstance(parameter, ast.arg) and parameter.arg == "mocker":
                yield Finding(source.path, parameter.lineno, advice)


def silent_handlers(sources: Sequence[Source]) -> Iterator[Finding]:
    """`except:`, and handlers of every exception that do nothing."""
    for source in sources:
        for handler in _handlers(source.tree):
            if handler.type is None:
                yield Finding(source.path, handler.lineno, "bare except: name the exceptions that can come")
            elif _is_broad(handler.type) and all(_does_nothing(statement) for statement in handler.body):
                yield Finding(source.path, handler.lineno, "an exception of any kind is dropped: name it, or act on it")


def broad_handlers(sources: Sequence[Source]) -> Iterator[Finding]:
    """Handlers of `Exception` and `BaseException` in files that give no reason; reasons that nothing needs."""
    for source in sources:
        caught = (handler for handler in _handlers(source.tree) if handler.type and _is_broad(handler.type))
        suppressed = (
            call for call, name in calls(source.tree) if name.endswith("suppress") and any(map(_is_broad, call.args))
        )
        lines = [*(handler.lineno for handler in caught), *(call.lineno for call in suppressed)]
        if source.path not in BROAD_HANDLERS:
            advice = "catches everything: name the exceptions, or give the file's reason in tests/house/banned.py"
            yield from (Finding(source.path, line, advice) for line in lines)
        elif not lines:
            yield Finding(source.path, 1, "catches everything no more: take it off the list in tests/house/banned.py")


def names(sources: Sequence[Source]) -> Iterator[Finding]:
    """Names with words that promise instead of saying what the thing is."""
    for source in sources:
        for name, line in _defined_names(source):
            banned = _BANNED_WORDS & {word.lower() for word in _WORD.findall(name)}
            if banned:
                yield Finding(source.path, line, f"{name}: {', '.join(sorted(banned))} says nothing; name what it is")


def sorted_all(sources: Sequence[Source]) -> Iterator[Finding]:
    """Packages whose `__all__` is not sorted (constants, classes, the rest), and a root package without one."""
    for source in sources:
        if not source.path.endswith("/__init__.py"):
            continue
        lists = [
            node for node in source.tree.body if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__"
        ]
        if not lists and source.path == "src/lanhaven/__init__.py":
            yield Finding(source.path, 1, "needs __all__: the names of the SDK")
        for node in lists:
            exported = list(ast.literal_eval(node.value))
            if exported != sorted(exported, key=_export_order):
                yield Finding(source.path, node.lineno, "__all__ is not sorted: let ruff check --fix do it")


def _export_order(name: str) -> tuple[int, str]:
    """The order that ruff keeps (RUF022)."""
    bare = name.strip("_")
    return (0 if bare == bare.upper() else 1 if bare[:1].isupper() else 2), name


def _calls_of(source: Source, names: set[str] | frozenset[str], advice: str) -> Iterator[Finding]:
    yield from (Finding(source.path, call.lineno, advice) for call, name in calls(source.tree) if name in names)


def _imports_of(source: Source, names: set[str], advice: str) -> Iterator[Finding]:
    found = (node for node, name in imported_modules(source.tree) if name in names)
    yield from (Finding(source.path, node.lineno, advice) for node in found)


def _handlers(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))


def _is_broad(caught: ast.expr) -> bool:
    each = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(dotted(kind).rpartition(".")[2] in {"Exception", "BaseException"} for kind in each)


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _defined_names(source: Source) -> Iterator[tuple[str, int]]:
    yield source.path.rpartition("/")[2].removesuffix(".py"), 1
    for node in ast.walk(source.tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case _:
                pass
