"""llama.cpp by llama-cpp-python, the real package where `scripts/test-llama-cpp-python` has built it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.base import ModelEntry
from lanhaven.testing.provider_suite import ProviderSuite, Rig
from lanhaven.types.models import LoadConfig
from tests.providers.conformance.test_llamacpp import create
from tests.providers.llamacpp.llama import OPTIONS
from tests.providers.llamacpp.test_llama_python import BUILT, REAL

if BUILT:

    class TestLlamaCppPython(ProviderSuite):
        @pytest.fixture(scope="class")
        @classmethod
        def rig(cls, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:
            broken = tmp_path_factory.mktemp("gguf") / "broken.gguf"
            broken.write_bytes(smollm2.read_bytes()[:1_000_000])
            return Rig(
                create=create,
                options={**OPTIONS, "engine": "llama_cpp_python", "python": str(REAL)},
                entry=ModelEntry("tiny", "llama_cpp", config={"model_path": str(smollm2)}),
                broken=ModelEntry("broken", "llama_cpp", config={"model_path": str(broken)}),
                asked=LoadConfig(context_length=8192, cpu_threads=2, gpu_ratio=1.0),
                endless={"logit_bias": {"0": -100, "2": -100}},
            )
