"""The models in one folder: GGUF files with their parts and projectors, or an MLX model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lanhaven.errors import InvalidModelFile
from lanhaven.formats.gguf_model import GGUFModel
from lanhaven.formats.gguf_split import is_later_part
from lanhaven.formats.mlx import describe_mlx
from lanhaven.importer.found import Found, Named, Store
from lanhaven.importer.look import UNSAFE, Listing, Look
from lanhaven.importer.naming import for_gguf, for_mlx
from lanhaven.types.models import ModelKind

MLX_MAKERS = ("mlx-community/",)
NEEDS_EYES = "it sees pictures where mlx-vlm is installed: pip install 'lanhaven[mlx-vision]'"
UNTOLD_CHAT = "it has no chat template: it completes texts, and chats only with chat_template in its config"


@dataclass(frozen=True, slots=True)
class Place:
    """Whose folder it is: its store, the folder that names begin at, and the HF repository if it is one."""

    store: Store
    base: Path
    repository: str | None = None


def models_in(look: Look, listing: Listing, place: Place) -> Iterator[Found]:
    """Every model directly in this folder."""
    names = listing.files
    yield from _ggufs(look, listing.folder, [name for name in names if name.lower().endswith(".gguf")], place)
    has_weights = any(name.lower().endswith(".safetensors") for name in names)
    if has_weights and "config.json" in names:
        yield from _mlx(look, listing, place)
    elif has_weights and not any(name.lower().endswith(".gguf") for name in names):
        look.note(listing.folder, "safetensors without a config.json: no model by itself")
    elif any(name.lower().endswith(UNSAFE) for name in names) and "config.json" in names:
        look.note(listing.folder, "weights in a format that can run code when it is read; take GGUF or safetensors")


def _ggufs(look: Look, folder: Path, names: Sequence[str], place: Place) -> Iterator[Found]:
    read: list[tuple[GGUFModel, tuple[int, int], Path]] = []
    for name in names:
        path = folder / name
        if is_later_part(path):
            if not any(name.rpartition("-of-")[0][:-5] + "00001-of-" in other for other in names):
                look.note(path, "a later part of a split model whose first part is missing")
            continue
        found = look.gguf(path)
        if found is not None:
            read.append((*found, path))
    projectors = [(model, path) for model, _, path in read if model.kind is None]
    used: set[Path] = set()
    for model, identity, path in read:
        if model.kind is None:
            continue
        projector = fitting(model, [each for each, _ in projectors], path.name)
        if projector is not None:
            used.add(projector.path)
        named = for_gguf(place.store, place.repository, path.relative_to(place.base), model.quantization)
        yield of_gguf(model, identity, named, place.store, projector)
    for model, path in projectors:
        if model.path not in used:
            look.note(path, "a projector, and no model in its folder fits it")


def fitting(model: GGUFModel, projectors: Sequence[GGUFModel], name: str) -> GGUFModel | None:
    """The projector for a model: of those that fit the one whose name is most like its own, F16 before others."""

    def likeness(projector: GGUFModel) -> tuple[int, bool, str]:
        words = set(projector.path.stem.lower().replace("_", "-").split("-"))
        mine = set(Path(name).stem.lower().replace("_", "-").split("-"))
        return -len(words & mine), projector.quantization != "F16", projector.path.name

    return min((each for each in projectors if model.pairs_with(each)), key=likeness, default=None)


def of_gguf(
    model: GGUFModel, identity: tuple[int, int], named: Named, store: Store, projector: GGUFModel | None
) -> Found:
    """A GGUF file that was read."""
    sees = projector is not None and projector.sees
    chats = "chat" in model.capabilities
    return Found(
        named=named,
        store=store,
        path=model.path,
        identity=identity,
        format="gguf",
        kind=ModelKind.VLM if sees else model.kind or ModelKind.LLM,
        size_bytes=model.file_bytes + (projector.file_bytes if projector else 0),
        architecture=model.architecture,
        quantization=model.quantization,
        title=model.name,
        max_context=model.max_context,
        chats=chats,
        tools="tools" in model.capabilities,
        projector=projector.path if projector else None,
        sees=sees,
        remarks=(UNTOLD_CHAT,) if model.kind is ModelKind.LLM and not chats else (),
    )


def _mlx(look: Look, listing: Listing, place: Place) -> Iterator[Found]:
    folder = listing.folder
    wanted = [name for name in listing.files if not name.lower().endswith((".gguf", *UNSAFE))]
    if any(look.file(folder / name) is None for name in wanted):
        return
    try:
        model = describe_mlx(folder)
        status = folder.stat()
        str(folder).encode()
    except InvalidModelFile as error:
        return look.note(folder, error.message)
    except OSError as error:
        return look.note(folder, f"cannot be read: {error.strerror}")
    except UnicodeEncodeError:
        return look.note(folder, "its name is not UTF-8, which models.yaml cannot hold; rename it")
    by_maker = place.repository is not None and place.repository.startswith(MLX_MAKERS)
    if model.encodes:
        look.note(folder, "an encoder, of which mlx-lm has none; take a GGUF of it")
    elif not model.converted and not by_maker:
        look.note(folder, "weights for PyTorch, not for MLX; convert them (mlx_lm.convert), or take a GGUF")
    elif not model.tokenizes:
        look.note(folder, "an MLX model without its tokenizer; fetch it again")
    else:
        yield Found(
            named=for_mlx(place.store, place.repository, folder.relative_to(place.base.parent)),
            store=place.store,
            path=folder,
            identity=(status.st_dev, status.st_ino),
            format="mlx",
            kind=ModelKind.EMBEDDING if model.pooling else ModelKind.VLM if model.sees else ModelKind.LLM,
            size_bytes=model.size_bytes,
            architecture=model.architecture,
            quantization=model.quantization,
            max_context=model.max_context,
            chats=model.chats and not model.pooling,
            tools=model.calls_tools and not model.pooling,
            sees=model.sees and not model.pooling,
            remarks=(NEEDS_EYES,) if model.sees and not model.pooling else (),
        )
    return None
