"""Changing models.yaml through the admin API. A model's provider and its config stay what the file says: they name
programs and files of this machine, and whoever may change those has the file itself. Models of other servers may be
added: they name nothing of this machine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from lanhaven.models_file import Editor
from lanhaven.models_file.difference import Difference
from lanhaven.server.admin_types import Body, LoadConfigBody, Name, SamplingBody
from lanhaven.server.services import Services

Words = Annotated[list[Name], Field(max_length=64)]


class Changes(Body):
    """What is to be otherwise in an entry: null removes a field, what is not named stays."""

    enabled: bool | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None
    tags: Words | None = None
    aliases: Words | None = None
    pinned: bool | None = None
    preload: bool | None = None
    ttl: Annotated[float, Field(ge=0)] | Name | None = None
    load: LoadConfigBody | None = None
    defaults: SamplingBody | None = None

    def said(self) -> dict[str, Any]:
        """In the file's own words."""
        said: dict[str, Any] = self.model_dump(by_alias=True, exclude_unset=True)
        defaults = said.get("defaults")
        if defaults and "stopStrings" in defaults:
            defaults["stop"] = defaults.pop("stopStrings")
        return said


class EditBody(Body):
    """POST /admin/models/edit"""

    model_key: Name
    changes: Changes = Changes()
    default: bool | None = None


class AddBody(Body):
    """POST /admin/models/add: a model of another server. Only what names that server: nothing of this machine."""

    model_key: Name
    base_url: Annotated[str, Field(pattern=r"^https?://", max_length=2048)]
    api_key: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    model: Name | None = None
    kind: Literal["llm", "vlm", "embedding", "reranker"] | None = None
    context_length: Annotated[int, Field(gt=0, le=1 << 24)] | None = None
    description: Annotated[str, Field(max_length=10_000)] | None = None

    def entry(self) -> dict[str, Any]:
        """The entry, in the file's own words."""
        config = self.model_dump(include={"base_url", "api_key", "model", "kind", "context_length"}, exclude_none=True)
        told = {"description": self.description} if self.description else {}
        return {"id": self.model_key, "provider": "openai", **told, "config": config}


class RemoveBody(Body):
    """POST /admin/models/remove"""

    model_key: Name


def models_file_router(services: Services) -> APIRouter:
    """Routes that change models.yaml."""
    router = APIRouter(prefix="/admin/models", tags=["admin"])
    replies: dict[int | str, dict[str, Any]] = {
        404: {"description": "models.yaml lists no such model."},
        507: {"description": "The disk is full; nothing was written."},
    }

    @router.post("/edit", responses=replies)
    async def edit(body: EditBody) -> dict[str, Any]:
        """Change a model's entry in models.yaml; comments stay. It holds as any change of the file does."""

        def change(models: Editor) -> None:
            models.update(body.model_key, body.changes.said())
            if body.default is not None and (body.default or models.models.default_model == body.model_key):
                models.set_default_model(body.model_key if body.default else None)

        return answer("changed", body.model_key, await services.reloading.edit(change))

    @router.post("/remove", responses=replies)
    async def remove(body: RemoveBody) -> dict[str, Any]:
        """Remove a model's entry from models.yaml. Its files stay; its instances end when nobody uses them."""
        found = await services.reloading.edit(lambda models: models.remove(body.model_key))
        return answer("removed", body.model_key, found)

    @router.post("/add", responses={409: {"description": "models.yaml has a model of this name."}})
    async def add(body: AddBody) -> dict[str, Any]:
        """List a model of a server that speaks OpenAI in models.yaml. It can be asked for at once."""
        found = await services.reloading.edit(lambda models: models.add(body.entry()))
        return answer("added", body.model_key, found)

    def answer(status: str, key: str, found: Difference) -> dict[str, Any]:
        return _answer(status, key, found) | {"file": str(services.reloading.path)}

    return router


def _answer(status: str, key: str, found: Difference) -> dict[str, Any]:
    return {
        "status": status,
        "modelKey": key,
        "added": list(found.added),
        "removed": list(found.removed),
        "changed": list(found.changed),
    }
