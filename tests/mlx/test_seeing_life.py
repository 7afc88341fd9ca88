"""The life of mlx children that see: load, cancelling, kinds of cache, what cannot be loaded, code that is never run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lanhaven.errors import LoadFailed
from lanhaven.providers.base import ModelEntry
from lanhaven.providers.mlx.provider import NOWHERE
from lanhaven.types.models import LoadConfig
from tests.children import own_children
from tests.media.pictures import BLUE, RED
from tests.mlx.engine import SMALL, info, load, provider, stream
from tests.mlx.seeing import CHAT, look, said, shown
from tests.providers.llamacpp.llama import Observer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


async def test_a_client_that_leaves_frees_it(mlx_python: Path, seeing: Path, tmp_path: Path) -> None:
    """One at a time, and an answer that would take hours. With a cache that rotates."""
    folder = tmp_path / "endless"
    shutil.copytree(seeing, folder)
    _change(folder, text_config={**_config(seeing)["text_config"], "max_position_embeddings": 1_000_000})
    async with provider(mlx_python) as made:
        loaded, _ = await load(made, folder, LoadConfig(context_length=500_000), max_kv_size=64)
        assert loaded.applied["maxKvSize"] == 64
        async with stream(loaded.upstream, CHAT, messages=shown(RED)) as chunks:
            assert (await anext(chunks))["choices"]
        assert said(await look(loaded.upstream, shown(BLUE))) == " blue blue blue"


async def test_without_its_eyes_it_is_a_text_model(mlx_python: Path, seeing: Path) -> None:
    async with provider(mlx_python) as made:
        assert "vision" in made.describe(_entry(seeing)).capabilities
        blind = made.describe(_entry(seeing, vision=False))
        assert "vision" not in blind.capabilities
        assert "draft_model_path is for texts" in (
            made.describe(_entry(seeing, draft_model_path=str(seeing))).unavailable or ""
        )


def _entry(folder: Path, **config: Any) -> ModelEntry:
    return ModelEntry("m", "mlx", config={"model_path": str(folder), **config})


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def _change(folder: Path, **changes: Any) -> None:
    (folder / "config.json").write_text(json.dumps(_config(folder) | changes))


# What it writes lies beside it, wherever it is run.
EVIL = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


def _module(folder: Path) -> None:
    _change(folder, model_file="evil.py")


def _processor(folder: Path) -> None:
    """Of a kind for which mlx-vlm itself asks for the code of the folder."""
    names = {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    for name in ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | {"auto_map": names}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Evil", "auto_map": names}))


def _unknown(folder: Path) -> None:
    _change(folder, model_type="nonsense")


@pytest.mark.req("F-017")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_module, "never run"),
        (_processor, "code that comes with the model, which is never run"),
        (_unknown, "nonsense not supported.*vision: false"),
    ],
)
async def test_why_it_cannot_be_loaded_and_that_no_foreign_code_is_run(
    mlx_python: Path, seeing: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(seeing, folder)
    (folder / "evil.py").write_text(EVIL)
    spoil(folder)
    async with provider(mlx_python) as made:
        with pytest.raises(LoadFailed, match=words) as caught:
            await made.load(info(made, folder), "tiny", SMALL, Observer())
        assert str(tmp_path) not in caught.value.message
        assert not own_children()
    assert not (tmp_path / "spoilt/ran").exists()


def test_code_that_comes_with_a_model_has_no_place_to_be_run_from(
    mlx_python: Path, seeing: Path, tmp_path: Path
) -> None:
    """Processors of some models ask for it in mlx-vlm's own code; transformers copies it before it runs it."""
    folder = tmp_path / "spoilt"
    shutil.copytree(seeing, folder)
    (folder / "evil.py").write_text(EVIL)
    _processor(folder)
    code = "import sys; from transformers import AutoImageProcessor as A; A.from_pretrained(sys.argv[1], trust_remote_code=True)"
    done = subprocess.run(
        [mlx_python, "-c", code, folder], env={"HF_MODULES_CACHE": NOWHERE, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"Not a directory: '{NOWHERE}'" in done.stderr
    assert not list(tmp_path.rglob("ran"))
