"""docs/sdk-python.md has every class, field, argument, setting and method of the SDK, and the sync client is up to date."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields

import lanhaven
from lanhaven.client._settings import VARIABLES, ClientSettings
from lanhaven.client._shape import camel
from lanhaven.server.schema.batch import SCHEMAS as BATCH
from lanhaven.server.schema.history import HISTORY
from lanhaven.server.schema.keys import KEYS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/sdk-python.md").read_text(encoding="utf-8")
CLASSES = [vars(lanhaven.client)[name] for name in lanhaven.client.__all__]
SHAPES = [each for each in CLASSES if isinstance(each, type) and issubclass(each, Struct)]
SHARED = [each for each in CLASSES if isinstance(each, type) and is_dataclass(each) and each is not ClientSettings]


def told(word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", PAGE) is not None


@pytest.mark.req("S3-42", "S3-41")
@pytest.mark.parametrize("kind", SHAPES, ids=lambda kind: kind.__name__)
def test_every_field_is_documented(kind: type[Struct]) -> None:
    names = [kind.__name__, *(each.name for each in fields(kind))]
    assert [name for name in names if not told(name)] == []


@pytest.mark.req("S3-42")
@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.__name__)
def test_every_field_that_the_server_shares_is_documented(kind: type) -> None:
    names = [kind.__name__, *(each.name for each in dataclass_fields(kind))]
    assert [name for name in names if not told(name)] == []


@pytest.mark.req("S3-42")
@pytest.mark.parametrize("kind", [lanhaven.Client, lanhaven.Keys, lanhaven.History])
def test_every_method_and_its_parameters_are_documented(kind: type) -> None:
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        if not name.startswith("_"):
            words = [name, *list(inspect.signature(method).parameters)[1:]]
            assert [word for word in words if not told("filter" if word == "wanted" else word)] == [], name


SERVED = {
    **{name: name for name in ("ApiKey", "NewApiKey", "KeyLimits", "KeyUse")},
    **{
        name: name
        for name in ("RequestDetails", "RequestPhase", "RequestBody", "BodiesKept", "UsageReport", "UsageRow")
    },
    **{name: name for name in ("HistorySeries", "BatchItem", "BatchInfo", "BatchTiming")},
    "RequestRecord": "HistoryRequest",
    "RequestsPage": "HistoryRequests",
}


@pytest.mark.parametrize("name", SERVED)
def test_fields_are_those_that_the_server_documents(name: str) -> None:
    schema = {**KEYS, **HISTORY, **BATCH}[SERVED[name]]
    known = {each.name for each in fields(vars(lanhaven.client)[name])} - {"extra"}
    assert {camel(each) for each in known} == {camel(each) for each in schema["properties"]}


def test_every_setting_is_an_argument_and_documented() -> None:
    names = {each.name for each in dataclass_fields(ClientSettings)}
    for kind in (lanhaven.Client, lanhaven.AsyncClient):
        assert set(inspect.signature(kind).parameters) == names
    assert set(VARIABLES) <= names
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_variable_is_documented() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert [each for names in VARIABLES.values() for each in names if f"`{each}`" not in page] == []


def test_both_clients_have_the_same_methods() -> None:
    plain, awaiting = vars(lanhaven.Client), vars(lanhaven.AsyncClient)
    renamed = {"__aenter__": "__enter__", "__aexit__": "__exit__", "aclose": "close"}
    assert {renamed.get(name, name) for name in awaiting} == set(plain)


def test_every_name_of_the_package_is_there() -> None:
    assert set(lanhaven.__all__) == {*lanhaven.client.__all__, "__version__"}
    assert all(each is not None for each in (vars(lanhaven.client)[name] for name in lanhaven.client.__all__))
    with pytest.raises(AttributeError, match="Nobody"):
        lanhaven.Nobody  # noqa: B018


def test_the_sync_client_is_what_unasync_makes() -> None:
    command = [sys.executable, str(ROOT / "scripts/unasync"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.req("S3-30", "S3-41")
def test_the_tests_fail_where_they_reach_too_little_of_the_sdk() -> None:
    script = (ROOT / "scripts/test").read_text(encoding="utf-8")
    assert "coverage run --source=src/lanhaven/client -m pytest" in script
    assert "--fail-under=95" in script


@pytest.mark.req("S3-04", "S3-34", "S3-38", "S3-39")
def test_what_to_do_if_it_does_not_work_is_told() -> None:
    advice = PAGE.split("## If it does not work", 1)[1].split("\n## ", 1)[0]
    for word in (
        "/health",
        "port",
        "firewall",
        "local server",
        "LANHAVEN_TIMEOUT",
        "60",
        "stream",
        "max_retries",
        "key",
    ):
        assert word in advice, word


@pytest.mark.req("S3-44")
def test_why_and_how_it_is_built_stands_in_documents_of_its_own() -> None:
    for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/requirements.md"):
        assert (ROOT / name).is_file()
    assert "`client/`" in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
