"""Lists a packed model that has been fetched in models.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lanhaven.models_file.edit import edit


def enlist(path: Path, entry: Mapping[str, Any], *, default: bool) -> bool:
    """Add the model's entry to the file `path`; as the default one if `default` and there is none. False: it was there.

    An entry whose file is gone gets the new file. Blocks on files; not for the event loop.
    """
    name, model_path = str(entry["id"]), entry["config"]["model_path"]
    with edit(path) as models:
        listed = next((each for each in models.models.entries if each.id == name), None)
        if listed is None:
            models.add(entry)
        elif not Path(str(listed.config.get("model_path", ""))).is_file():
            models.update(name, {"config": {"model_path": model_path}})
        if default and models.models.default_model is None:
            models.set_default_model(name)
    return listed is None
