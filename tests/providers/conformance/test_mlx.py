"""MLX, the real engine with a tiny model, as a child process of another interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from lanhaven.providers.base import ModelEntry, Provider, ProviderContext
from lanhaven.providers.mlx.provider import MLX
from lanhaven.testing.provider_suite import ProviderSuite, Rig
from lanhaven.types.models import LoadConfig
from tests.mlx.conftest import mlx_python, smol  # noqa: F401 - fixtures
from tests.mlx.engine import OPTIONS
from tests.mlx.models import tiny_mlx
from tests.providers.conformance.timers import PATIENT

pytestmark = pytest.mark.timeout(240)


def create(context: ProviderContext) -> Provider:
    return MLX(context, timers=PATIENT)


@pytest.mark.req("F-001", "F-005", "F-018", "P2", "S4-11")
class TestMLX(ProviderSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def rig(cls, mlx_python: Path, smol: Path, tmp_path_factory: pytest.TempPathFactory) -> Rig:  # noqa: F811
        folder = tmp_path_factory.mktemp("mlx")
        endless = tiny_mlx(smol, folder / "endless", max_position_embeddings=1_000_000)
        broken = tiny_mlx(smol, folder / "broken", hidden_size=128)
        (broken / "model.safetensors").write_bytes((endless / "model.safetensors").read_bytes())
        return Rig(
            create=create,
            options={**OPTIONS, "python": str(mlx_python)},
            entry=ModelEntry("tiny", "mlx", config={"model_path": str(endless)}),
            broken=ModelEntry("broken", "mlx", config={"model_path": str(broken)}),
            asked=LoadConfig(context_length=500_000, slots=1, cpu_threads=2, gpu_layers=3),
            endless={"logit_bias": {"2": -100}},
        )
