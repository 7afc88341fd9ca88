"""Editing models.yaml in place.

Only the lines of the entry concerned are written anew; every other byte stays, comments and blank lines included.
ruamel's round trip over the whole file would not do: it hangs a comment on the value before it, so that removing an
entry takes the heading of the next one along.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lanhaven.config import atomic
from lanhaven.config.yaml_text import LARGEST_FILE, parse, read_text, wrong
from lanhaven.errors import InternalError, InvalidRequest, ModelNotFound, Overloaded
from lanhaven.models_file.lines import Lines
from lanhaven.models_file.read import ModelsFile, read_parsed
from lanhaven.models_file.render import changed, rendered
from lanhaven.providers.base import ModelEntry

ATTEMPTS = 5  # at a file that somebody else is writing as well
STARTER = """\
# The models that this server offers. docs/models-yaml.md explains every field; models.example.yaml shows them.
# Commands that change this file (`lanhaven get`, `add`, `set`, `rm`) keep your comments.
#
# - id: my-model                       the name that clients use
#   provider: llama_cpp                llama_cpp (GGUF files), openai (other servers), mock
#   config:
#     model_path: ~/models/my-model.gguf

models: []
"""


def create(path: Path) -> bool:
    """Write a starter file with comments; False where a file is there already, which stays."""
    with atomic.locked(path):
        if path.exists():
            return False
        atomic.write_text(path, STARTER)
        return True


@contextmanager
def edit(path: Path) -> Iterator[Editor]:
    """Change the file: `with edit(path) as models: models.add({...})`. Blocks on files; not for the event loop.

    The file is locked from reading to writing, written atomically and once, at the end, and not at all if the block
    raises. A file that is wrong is refused, not mended: InvalidRequest with its line. A file that is not there begins
    as the starter file. ChangedMeanwhile, and nothing is written, where somebody else wrote who asks for no lock.
    """
    with atomic.locked(path):
        before = _text_of(path)
        editor = Editor(before.replace("\r\n", "\n") or STARTER, path)
        yield editor
        text = editor.text.replace("\n", "\r\n") if "\r\n" in before else editor.text
        if text != before:
            if _text_of(path) != before:
                raise ChangedMeanwhile(f"{path.name} was changed by somebody else just now.", hint="try it again")
            atomic.write_text(path, text)


def apply(path: Path, change: Callable[[Editor], None]) -> None:
    """One change of the file, made anew on what somebody else wrote meanwhile. As `edit` otherwise."""
    for _ in range(ATTEMPTS - 1):
        with suppress(ChangedMeanwhile), edit(path) as editor:
            change(editor)
            return
    with edit(path) as editor:
        change(editor)


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        return ""


class ChangedMeanwhile(Overloaded):
    """Somebody wrote the file between reading and writing; their change stays."""


class Editor:
    """One edit under way. After every operation `text` is a valid file, and `models` is what it says.

    Entries and changes are mappings in the file's own form, e.g. {"id": "x", "provider": "mlx", "load": {"slots": 2}}.
    """

    def __init__(self, text: str, path: Path) -> None:
        self._path = path
        self.text = text
        self.models = self._read(text)

    def add(self, *entries: Mapping[str, Any]) -> None:
        """Append entries. InvalidRequest where one is wrong or its id is taken."""
        if not entries:
            return
        taken = {each.id for each in self.models.entries}
        double = next((entry["id"] for entry in entries if entry.get("id") in taken), None)
        if double is not None:
            raise InvalidRequest(
                f"{self._path.name} has {double!r} already", param="id", hint="update it, or remove it"
            )
        lines = Lines(self.text, self._path.name)
        self._become(lines.appended([rendered(entry) for entry in entries]), kept=self.models.entries)

    def update(self, model_id: str, changes: Mapping[str, Any]) -> None:
        """Lay changes over one entry: mappings inside are merged, None removes, what is not named stays."""
        self.update_all([model_id], changes)

    def update_all(self, model_ids: Collection[str], changes: Mapping[str, Any]) -> None:
        """The same for several entries, in one go: the file is parsed once, not once for each."""
        indices = [self._index(each) for each in model_ids]
        if not changes:
            return
        lines = Lines(self.text, self._path.name)
        self._become(
            lines.replaced(indices, lambda snippet: changed(snippet, changes)),
            kept=[entry for entry in self.models.entries if entry.id not in model_ids],
        )

    def remove(self, model_id: str) -> None:
        """Remove one entry, and default_model where it names it. Comments around the entry stay."""
        lines = Lines(self.text, self._path.name)
        index = self._index(model_id)
        names = {model_id, *self.models.entries[index].aliases}
        kept = [entry for entry in self.models.entries if entry.id != model_id]
        self._become(lines.removed(index), kept=kept)
        if self.models.default_model in names:
            self.set_default_model(None)

    def set_default_model(self, model_id: str | None) -> None:
        """Name the model for requests that name none; None removes the setting."""
        lines = Lines(self.text, self._path.name)
        self._become(lines.with_setting("default_model", model_id), kept=self.models.entries)

    def _index(self, model_id: str) -> int:
        for index, entry in enumerate(self.models.entries):
            if entry.id == model_id:
                return index
        raise ModelNotFound(f"{self._path.name} has no model {model_id!r}", hint="lanhaven ls lists them", retry=False)

    def _become(self, text: str, kept: Sequence[ModelEntry]) -> None:
        """Take over the new text once it has been read back and the other entries are found unchanged."""
        models = self._read(text)
        found = {entry.id: entry for entry in models.entries}
        if any(found.get(entry.id) != entry for entry in kept):
            raise InternalError(f"editing {self._path.name} would have changed other entries; nothing was written")
        self.text, self.models = text, models

    def _read(self, text: str) -> ModelsFile:
        if len(text.encode()) > LARGEST_FILE:  # nobody could read it back
            hint = "keep some of the models in a file of their own"
            raise wrong(self._path.name, None, "would be larger than 1 MiB", hint=hint)
        return read_parsed(parse(text, self._path.name), self._path)
