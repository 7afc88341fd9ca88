"""Real programs: mlx_lm's own server, and an engine child of another LanHaven."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from lanhaven.providers.base import ModelEntry, Provider, ProviderContext
from lanhaven.providers.command.provider import CommandProvider
from lanhaven.testing.provider_suite import ProviderSuite, Rig
from tests.mlx.conftest import mlx_python, smol  # noqa: F401 - fixtures
from tests.mlx.models import tiny_mlx
from tests.providers.conformance.timers import PATIENT

TOKEN = "hf_very-secret-value"

pytestmark = pytest.mark.timeout(240)


def create(context: ProviderContext) -> Provider:
    return CommandProvider(context, timers=PATIENT)


def entry(name: str, *command: str, **said: Any) -> ModelEntry:
    settings = {"command": list(command), "env": {"HF_TOKEN": TOKEN}, "memory_mib": 100, "stop_seconds": 2, **said}
    return ModelEntry(name, "command", config=settings)


@pytest.mark.req("F-001", "F-005", "F-018", "P2")
class TestEngineChild(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, smollm2: Path) -> Rig:
        program = [sys.executable, "-P", str(Path(__file__).with_name("engine_child.py"))]
        return Rig(
            create=create,
            entry=entry("big", *program, str(smollm2), "${SOCKET}", slots=1),
            broken=entry("broken", *program, "/nowhere.gguf", "${SOCKET}"),
            endless={"ignore_eos": True},
            secrets=(TOKEN,),
        )


class TestMLXServer(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, mlx_python: Path, smol: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:  # noqa: F811
        folder = tiny_mlx(smol, tmp_path_factory.mktemp("mlx") / "tiny", max_position_embeddings=1_000_000)
        program = [str(mlx_python), "-m", "mlx_lm", "server", "--host", "127.0.0.1", "--port", "${PORT}", "--model"]
        return Rig(
            create=create,
            entry=entry("big", *program, str(folder), model="default_model", slots=1, capabilities=[]),
            broken=entry("broken", str(mlx_python), "-m", "mlx_lm", "serve", "${PORT}"),
            endless={"max_tokens": 1_000_000, "logit_bias": {"2": -100}},
            secrets=(TOKEN,),
        )
