"""models.yaml: the models that the user lists, with load settings and defaults. Read strictly, edited in place."""

from __future__ import annotations

from lanhaven.models_file.edit import Editor, create, edit
from lanhaven.models_file.read import ModelsFile, models_path, read

__all__ = ["Editor", "ModelsFile", "create", "edit", "models_path", "read"]
