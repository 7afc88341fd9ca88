"""LM Studio's own client for JavaScript, npm @lmstudio/sdk, against a real server: on real models, and on scripted ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house_process import HouseProcess, running
from tests.js.node import install, suite

SDK = Path(__file__).parent / "lmstudio-sdk"
TOKEN = "sk-lm-LanHaven:abcdefghij0123456789"
MODELS = """\
models:
  - id: smollm2
    provider: llama_cpp
    enabled: true
    config: {{model_path: {chat}}}
  - id: minilm
    provider: llama_cpp
    enabled: true
    config: {{model_path: {embedding}}}
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[HouseProcess]:
    """SmolLM2 and MiniLM behind a token of LM Studio's form; nobody comes in without one."""
    models = MODELS.format(chat=json.dumps(str(smollm2)), embedding=json.dumps(str(minilm)))
    settings = {"LANHAVEN_API_KEY": TOKEN, "LANHAVEN_LMSTUDIO_GUESTS": ""}
    with running(tmp_path_factory.mktemp("real"), models, **settings) as house:
        house.http.headers["X-API-Key"] = TOKEN
        yield house


@pytest.mark.timeout(280)
def test_on_real_models(real: HouseProcess) -> None:
    install(SDK)
    suite(SDK / "real.test.mjs", None, patience=200, LANHAVEN_URL=real.url, LANHAVEN_KEY=TOKEN)
    assert real.get("/admin/models")["loaded"] == []


@pytest.mark.timeout(280)
def test_on_scripted_models(open_house: HouseProcess) -> None:
    install(SDK)
    suite(SDK / "scripted.test.mjs", None, patience=100, LANHAVEN_URL=open_house.url)
