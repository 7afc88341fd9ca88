"""llama.cpp by a llama-server: its command line before the real engine, a program below a worker of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.base import ModelEntry
from lanhaven.testing.provider_suite import ProviderSuite, Rig
from lanhaven.types.models import LoadConfig
from tests.providers.conformance.test_llamacpp import create
from tests.providers.llamacpp import llama_server
from tests.providers.llamacpp.llama import OPTIONS


@pytest.mark.req("F-001", "F-005", "F-018", "S4-22")
class TestLlamaServer(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
        folder = tmp_path_factory.mktemp("server")
        broken = folder / "broken.gguf"
        broken.write_bytes(smollm2.read_bytes()[:1_000_000])
        return Rig(
            create=create,
            options={**OPTIONS, "binary": str(llama_server.install(folder))},
            entry=ModelEntry("tiny", "llama_cpp", config={"model_path": str(smollm2)}),
            broken=ModelEntry("broken", "llama_cpp", config={"model_path": str(broken)}),
            asked=LoadConfig(context_length=8192, slots=1, cpu_threads=2, gpu_ratio=1.0),
            endless={"ignore_eos": True},
        )
