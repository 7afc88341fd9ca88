"""The one table of recipes: the page's cards, `lanhaven connect` and docs/clients.md are made of it."""

from __future__ import annotations

from lanhaven.connect.apps.chats import CHATS
from lanhaven.connect.apps.claude import CLAUDE
from lanhaven.connect.apps.codex import CODEX
from lanhaven.connect.apps.editors import EDITORS
from lanhaven.connect.apps.extensions import EXTENSIONS
from lanhaven.connect.apps.home import HOME
from lanhaven.connect.apps.libraries import LIBRARIES
from lanhaven.connect.apps.opencode import OPENCODE
from lanhaven.connect.apps.terminal import TERMINAL
from lanhaven.connect.recipe import Recipe

RECIPES: tuple[Recipe, ...] = (
    CLAUDE,
    CODEX,
    OPENCODE,
    *CHATS,
    *EDITORS,
    *EXTENSIONS,
    *HOME,
    *TERMINAL,
    *LIBRARIES,
)


def find(name: str) -> Recipe | None:
    """The recipe with this id, or for the app of this name in any case."""
    folded = name.casefold()
    return next((each for each in RECIPES if folded in (each.id, each.name.casefold())), None)
