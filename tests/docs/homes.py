"""Which document's blocks run in which home: those that leave nothing behind share one, and its server."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.docs.house import Home

# Documents whose server has scripted models.
FLAGS = {"docs/mock.md": ("--provider", "mock")}
SEEING = ("docs/images.md",)  # there is a model that sees
# Documents that change their home for good: settings, keys, models.
ALONE = tuple(f"docs/{name}.md" for name in ("cli", "import", "install", "models-yaml", "sdk-python", "security"))

FIRST, LENGTH = "smollm2", 8192  # the default model, and its context


class Homes:
    """A home with a running server for the document that is read now."""

    def __init__(self, folder: Path, models: dict[str, Path]) -> None:
        self._folder, self._models = folder, models
        self._own, self._common = ExitStack(), ExitStack()
        self._open: dict[str, Home] = {}  # the document's own, or the shared one: under its name then
        self._shared: Home | None = None

    def of(self, document: str) -> Home:
        """Until the next document asks. At its first block the home is as a new one."""
        if document not in self._open:
            self._own.close()
            self._open = {document: self._alone(document) if document in (*FLAGS, *SEEING, *ALONE) else self._one()}
        return self._open[document]

    def close(self) -> None:
        """Stop the servers."""
        self._own.close()
        self._common.close()

    def _alone(self, document: str) -> Home:
        return self._served(self._own, *FLAGS.get(document, ()), seeing=document in SEEING)

    def _one(self) -> Home:
        home, self._shared = self._shared, None  # who comes after one that cannot be tidied gets a new one
        if home is None:
            home = self._served(self._common)
        else:
            tidy(home)
        self._shared = home
        return home

    def _served(self, until: ExitStack, *flags: str, seeing: bool = False) -> Home:
        place = self._folder / str(len(list(self._folder.iterdir())))
        place.mkdir()
        home = Home(place, self._models, seeing=seeing).furnish()
        return until.enter_context(home.serving(*flags))


def tidy(home: Home) -> None:
    """Take away what a document left on the desk and in memory: only what is loaded at the start stays loaded."""
    changed = home.changed()
    assert not changed, f"the next document would find {changed}: the one before belongs to ALONE"
    home.clear_desk()
    with home.http() as http:
        for each in http.get("/admin/models").json()["loaded"]:
            if not is_first(each):
                body = {"modelKey": each["path"], "instanceId": each["identifier"], "force": True}
                http.post("/admin/models/unload", json=body).raise_for_status()
        http.post("/admin/models/load", json={"modelKey": FIRST}).raise_for_status()


def is_first(loaded: dict[str, Any]) -> bool:
    """Whether this is what a server loads when it starts, loaded as it does."""
    own = loaded["identifier"] == FIRST and not loaded["pinned"] and not loaded["defaultInference"]
    return bool(own) and loaded["contextLength"] == LENGTH
