"""The Grafana board asks for nothing that /metrics does not tell, and docs/monitoring.md tells of all there is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lanhaven.events import Failure
from tests.serving import serving

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"
BOARD = json.loads((DOCS / "grafana" / "lanhaven.json").read_text(encoding="utf-8"))
Told = Mapping[str, set[str]]


def expressions() -> list[str]:
    found = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return [*found, *(each["query"]["query"] for each in BOARD["templating"]["list"] if each["type"] == "query")]


@pytest.fixture(scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory, anyio_backend: Any) -> AsyncIterator[Told]:
    """Name of each sample -> names of its labels, on a server that has seen everything once."""
    async with serving(tmp_path_factory.mktemp("house")) as house:
        await house.chat(model="beta")
        await house.http.post("/admin/models/unload", json={"modelKey": "beta"})
        await house.chat(stream=True)
        await house.chat(model="nobody")
        house.services.bus.emit(Failure(operation="model_load", error="no", code="load_failed", status=500))
        text = (await house.http.get("/metrics")).text
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        yield {name: {label for each in samples if each.name == name for label in each.labels} for name, *_ in samples}


@pytest.mark.parametrize("expression", expressions())
async def test_every_metric_and_label_of_the_board_exists(told: Told, expression: str) -> None:
    names = re.findall(r"lanhaven_\w+", expression)
    assert names
    for name in names:
        assert name in told
    asked = {
        label for inside in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*[=!]", inside)
    }
    asked |= {label for inside in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r",\s*", inside)}
    asked |= set(re.findall(r"label_values\(\w+, (\w+)\)", expression))
    assert asked <= set().union(*(told[name] for name in names))


async def test_the_board_draws_one_thing_a_panel_and_says_which() -> None:
    titles = [panel["title"] for panel in BOARD["panels"]]
    assert len(titles) == len(set(titles)) == 8
    for panel in BOARD["panels"]:
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert all(legends)
        assert panel["description"]


async def test_the_manual_tells_of_every_metric_and_its_labels(told: Told) -> None:
    rows = re.findall(r"^\| `(lanhaven_\w+)` \| (.*?) \|", (DOCS / "monitoring.md").read_text(), re.MULTILINE)
    manual = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name): labels - {"le"} for name, labels in told.items()}
    ours = {name: labels for name, labels in families.items() if name.startswith("lanhaven_")}
    assert manual == ours
