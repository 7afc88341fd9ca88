"""The house style and the walls of ARCHITECTURE.md, held by reading the code. Each is shown code that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.house import banned, rooms, shape
from tests.house.source import Finding, Source, python_files, tracked_texts
from tests.house.texts import forbidden_texts

SRC = ("src",)
EVERYWHERE = ("src", "tests", "bench", "scripts")
TESTS = ("tests",)

X = "src/lanhaven/gateway.py"
LONG = "\n".join(f"    a{n} = {n}" for n in range(60))


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, where it holds, and pairs of (path, code): one it must find, one it must let pass."""

    name: str
    check: Callable[[Sequence[Source]], Iterator[Finding]]
    folders: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    good: tuple[tuple[str, str], ...]


RULES = (
    Rule("every-module-has-a-room", rooms.unplaced, SRC, (("src/lanhaven/attic.py", ""),), ((X, ""),)),
    Rule(
        "walls",
        rooms.walls,
        SRC,
        (
            ("src/lanhaven/providers/lmstudio/provider.py", "from lanhaven.gateway import Gateway"),
            (
                "src/lanhaven/providers/lmstudio/provider.py",
                "from lanhaven.providers import base\nimport lanhaven.providers.openai.provider",
            ),
            ("src/lanhaven/providers/mock.py", "def f():\n    from lanhaven.residency.pool import Pool"),
            ("src/lanhaven/providers/mock.py", "from ..server import app"),
            ("src/lanhaven/dialects/ollama/dialect.py", "from lanhaven.dialects.openai.dialect import f"),
            ("src/lanhaven/dialects/ollama/dialect.py", "from lanhaven.providers.base import Provider"),
            ("src/lanhaven/residency/policy.py", "from lanhaven.errors import GatewayError"),
            ("src/lanhaven/residency/pool.py", "from lanhaven.providers.llamacpp.provider import LlamaCpp"),
            ("src/lanhaven/engines/scripted.py", "from lanhaven import gateway"),
            ("src/lanhaven/client/_async.py", "from lanhaven.config import Settings"),
            ("src/lanhaven/server/app.py", "from lanhaven.client import Client"),
            ("src/lanhaven/cli/up.py", "from lanhaven.server.app import create_app"),
            ("src/lanhaven/cli/ls.py", "def f():\n    from lanhaven.server.app import create_app"),
            ("src/lanhaven/cli/banner.py", "if TYPE_CHECKING:\n    from lanhaven.server import ServerInfo"),
            ("src/lanhaven/packed.py", "from lanhaven.catalog import Catalog"),
            ("src/lanhaven/wire.py", "from lanhaven import Client"),
        ),
        (
            ("src/lanhaven/providers/mock.py", "from lanhaven.providers.base import Provider\nfrom . import base"),
            ("src/lanhaven/providers/mock.py", "from lanhaven.engines.scripted import serve"),
            ("src/lanhaven/dialects/openai/dialect.py", "from lanhaven.dialects.openai.fields import check"),
            ("src/lanhaven/dialects/jobs/dialect.py", "from lanhaven.dialects.openai.dialect import f"),
            ("src/lanhaven/cli/up.py", "def f():\n    from lanhaven.server.app import create_app"),
            ("src/lanhaven/cli/up_banner.py", "if TYPE_CHECKING:\n    from lanhaven.server import ServerInfo"),
            ("src/lanhaven/cli/get.py", "from lanhaven.packed import fetch"),
            ("src/lanhaven/formats/gguf_writer.py", "from lanhaven.types.models import ModelInfo"),
            ("src/lanhaven/server/app.py", "from lanhaven import __version__\nfrom lanhaven.providers import registry"),
        ),
    ),
    Rule(
        "outside-packages",
        rooms.outside,
        SRC,
        (
            ("src/lanhaven/client/_sync.py", "import aiohttp"),
            ("src/lanhaven/types/chat.py", "from pydantic import BaseModel"),
            ("src/lanhaven/residency/policy.py", "import msgspec"),
            (X, "import requests"),
        ),
        (("src/lanhaven/client/_sync.py", "import httpx2, json"), (X, "import aiohttp\nimport ruamel.yaml")),
    ),
    Rule(
        "the-plan-is-pure",
        rooms.purity,
        SRC,
        (
            ("src/lanhaven/residency/policy.py", "from time import monotonic"),
            ("src/lanhaven/residency/policy.py", "import asyncio"),
        ),
        (
            ("src/lanhaven/residency/policy.py", "import math\nfrom enum import StrEnum"),
            ("src/lanhaven/residency/pool.py", "import asyncio"),
        ),
    ),
    Rule("file-length", shape.file_length, EVERYWHERE, ((X, "a = 1\n" * 401),), ((X, "a = 1\n" * 400),)),
    Rule(
        "function-length",
        shape.function_length,
        EVERYWHERE,
        ((X, f"def f():\n{LONG}"), (X, f"class A:\n  async def f(self):\n{LONG}")),
        ((X, f"@a\ndef f():\n{LONG.removesuffix('a59 = 59')}"),),
    ),
    Rule(
        "annotations",
        shape.annotated,
        EVERYWHERE,
        (
            (X, "def f(): ..."),
            (X, "def f(a) -> None: ..."),
            (X, "def f(*a, **b: int) -> None: ..."),
            (X, "class A:\n def f(self, *, a) -> None: ..."),
            (X, "class A:\n @staticmethod\n def f(a) -> None: ..."),
            (X, "class A:\n def f(self) -> None:\n  def g(a) -> None: ..."),
        ),
        ((X, "class A:\n def f(self, a: int, *b: int, c: int = 1, **d: int) -> None: ..."), (X, "f = lambda a: a")),
    ),
    Rule(
        "no-global",
        shape.no_global,
        EVERYWHERE,
        ((X, "def f():\n    global a\n    a = 1"),),
        ((X, "def f():\n    nonlocal_ = 1"),),
    ),
    Rule(
        "no-module-state",
        shape.no_module_state,
        SRC,
        (
            (X, "cache = {}"),
            (X, "seen: set[str] = set()"),
            (X, "names = [n for n in range(3)]"),
            (X, "CACHE = {}\ndef f(k):\n    CACHE[k] = 1"),
            (X, "NAMES = []\ndef f(k):\n    NAMES.append(k)"),
            (X, "LOCK = threading.Lock()"),
            (X, "app = FastAPI()"),
        ),
        (
            (X, "NAMES = {'a': 1}\n__all__ = ['a']\nKINDS = frozenset({'a'})\nTABLE = MappingProxyType({})"),
            (X, "def f():\n    cache = {}\n    cache['a'] = 1"),
        ),
    ),
    Rule(
        "environment",
        banned.environment,
        SRC,
        ((X, "import os\nos.environ['A']"), (X, "import os\nos.getenv('A')"), (X, "from os import environ")),
        (("src/lanhaven/config/environ.py", "import os\nos.environ['A']"), (X, "import os\nos.getpid()")),
    ),
    Rule(
        "print",
        banned.prints,
        SRC,
        ((X, "print(1)"),),
        (("src/lanhaven/cli/ls.py", "print(1)"), (X, "console.print(1)")),
    ),
    Rule("hasattr", banned.hasattrs, SRC, ((X, "hasattr(a, 'b')"),), ((X, "a.hasattr()"),)),
    Rule("getattr", banned.getattrs, SRC, ((X, "getattr(a, 'b')\n" * 4),), ((X, "getattr(a, 'b')\n" * 3),)),
    Rule(
        "wall-clock",
        banned.wall_clock,
        EVERYWHERE,
        ((X, "import time\ntime.time()"), (X, "from time import time")),
        ((X, "import time\ntime.monotonic()"),),
    ),
    Rule(
        "shells",
        banned.shells,
        EVERYWHERE,
        ((X, "run('a', shell=True)"), (X, "os.system('a')"), (X, "asyncio.create_subprocess_shell('a')")),
        ((X, "run(['a'], shell=False)"), (X, "run(['a'])")),
    ),
    Rule(
        "pickle",
        banned.pickles,
        EVERYWHERE,
        ((X, "import pickle"), (X, "from dill import loads")),
        ((X, "import json"),),
    ),
    Rule(
        "unsafe-yaml",
        banned.unsafe_yaml,
        EVERYWHERE,
        ((X, "import yaml\nyaml.load(a)"), (X, "from yaml import load"), (X, "YAML(typ='unsafe')")),
        ((X, "from ruamel.yaml import YAML\nyaml = YAML(typ='rt')\nyaml.load(a)"),),
    ),
    Rule(
        "middleware",
        banned.base_http_middleware,
        EVERYWHERE,
        (
            (X, "from starlette.middleware.base import BaseHTTPMiddleware as Base"),
            (X, "class A(base.BaseHTTPMiddleware): ..."),
            (X, "@app.middleware('http')\nasync def f(a, b): ..."),
        ),
        ((X, "from starlette.middleware import Middleware\napp.add_middleware(Pure)"),),
    ),
    Rule(
        "mocks",
        banned.mocks,
        TESTS,
        ((X, "from unittest.mock import patch"), (X, "from unittest import mock"), (X, "def test_a(mocker): ...")),
        ((X, "from lanhaven.engines.scripted import serve\ndef test_a(monkeypatch): ..."),),
    ),
    Rule(
        "silent-handlers",
        banned.silent_handlers,
        EVERYWHERE,
        (
            (X, "try: f()\nexcept: g()"),
            (X, "try: f()\nexcept Exception: pass"),
            (X, "try: f()\nexcept (OSError, BaseException): ..."),
        ),
        ((X, "try: f()\nexcept OSError: pass"), (X, "try: f()\nexcept Exception: g()")),
    ),
    Rule(
        "broad-handlers",
        banned.broad_handlers,
        SRC,
        (
            (X, "try: f()\nexcept Exception: raise"),
            (X, "try: f()\nexcept (ValueError, builtins.BaseException): g()"),
            (X, "with contextlib.suppress(Exception): f()"),
            (min(banned.BROAD_HANDLERS), "try: f()\nexcept OSError: g()"),
        ),
        ((X, "try: f()\nexcept ValueError: g()"), (min(banned.BROAD_HANDLERS), "try: f()\nexcept Exception: raise")),
    ),
    Rule(
        "names",
        banned.names,
        EVERYWHERE,
        (
            ("src/lanhaven/utils.py", ""),
            (X, "class ModelManager: ..."),
            (X, "def load_helper(): ..."),
            (X, "smart_pool = 1"),
            (X, "def f(wrapper): ..."),
            (X, "class A:\n def __init__(self):\n  self._manager = 1"),
        ),
        ((X, "from contextlib import asynccontextmanager\nmanagement = smartphone = 1"),),
    ),
    Rule(
        "sorted-exports",
        banned.sorted_all,
        SRC,
        (
            ("src/lanhaven/types/__init__.py", "__all__ = ['b', 'a']"),
            ("src/lanhaven/types/__init__.py", "__all__ = ['Agent', 'API']"),
            ("src/lanhaven/__init__.py", "a = 1"),
        ),
        (
            ("src/lanhaven/types/__init__.py", "__all__ = ['API', 'ZED', 'Agent', 'Zed', '__version__', '_x', 'a']"),
            (X, "__all__ = ['b', 'a']"),
        ),
    ),
)


def by_name(rule: Rule) -> str:
    return rule.name


@pytest.mark.req("S4-09", "S4-19", "S4-20")
@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_the_project_keeps_the_rule(rule: Rule) -> None:
    sources = [source for folder in rule.folders for source in python_files(folder)]
    findings = [str(finding) for finding in rule.check(sources)]
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_the_rule_finds_what_breaks_it(rule: Rule) -> None:
    missed = [code for path, code in rule.bad if not list(rule.check([Source.parse(path, code)]))]
    assert not missed


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_the_rule_lets_good_code_pass(rule: Rule) -> None:
    findings = [str(finding) for path, code in rule.good for finding in rule.check([Source.parse(path, code)])]
    assert not findings


def test_no_file_names_a_registry_a_machine_or_an_open_end() -> None:
    findings = [str(finding) for finding in forbidden_texts(tracked_texts())]
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize(
    "text",
    [
        "https://py" + "pi.org/simple",
        "https://files.python" + "hosted.org/x",
        "https://registry.npm" + "js.org/x",
        "deb.debian" + ".org",
        "/wo" + "rk/main",
        "../sha" + "red/design",
        "the fa" + "rm",
        "# TO" + "DO later",
        "FIX" + "ME",
    ],
)
def test_forbidden_texts_are_found(text: str) -> None:
    assert [finding.line for finding in forbidden_texts([("a.md", f"first line\n{text}\n")])] == [2]


def test_words_that_only_look_forbidden_pass() -> None:
    text = "farmer, a network/work item, ~/work/x, todo list, openapi.org, mastodon"
    assert not list(forbidden_texts([("a.md", text)]))
