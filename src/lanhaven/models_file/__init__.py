"""models.yaml: the models that the user lists, with load settings and defaults. Read strictly, edited in place."""

from __future__ import annotations

from lanhaven.models_file.assigning import assigned
from lanhaven.models_file.edit import Editor, apply, create, edit
from lanhaven.models_file.packed_entry import enlist
from lanhaven.models_file.read import ModelsFile, models_path, read

__all__ = ["Editor", "ModelsFile", "apply", "assigned", "create", "edit", "enlist", "models_path", "read"]
