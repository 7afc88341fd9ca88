"""llama.cpp, the real engine with SmolLM2, as a child process."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.base import ModelEntry, Provider, ProviderContext
from lanhaven.providers.llamacpp.provider import LlamaCpp
from lanhaven.testing.provider_suite import ProviderSuite, Rig
from lanhaven.types.models import LoadConfig
from tests.providers.conformance.timers import PATIENT
from tests.providers.llamacpp.llama import OPTIONS


def create(context: ProviderContext) -> Provider:
    return LlamaCpp(context, timers=PATIENT)


@pytest.mark.req("F-001", "F-005", "F-018", "P2", "P7", "S4-22")
class TestLlamaCpp(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, smollm2: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
        broken = tmp_path_factory.mktemp("gguf") / "broken.gguf"
        broken.write_bytes(smollm2.read_bytes()[:1_000_000])
        return Rig(
            create=create,
            options=OPTIONS,
            entry=ModelEntry("tiny", "llama_cpp", config={"model_path": str(smollm2)}),
            others=(ModelEntry("vectors", "llama_cpp", config={"model_path": str(minilm)}),),
            broken=ModelEntry("broken", "llama_cpp", config={"model_path": str(broken)}),
            asked=LoadConfig(context_length=8192, slots=1, cpu_threads=2, gpu_ratio=1.0),
            endless={"ignore_eos": True},
        )
