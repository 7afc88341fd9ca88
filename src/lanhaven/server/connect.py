"""GET /admin/connect: the recipes for apps, filled in for this server and one model."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Query, Request

from lanhaven.connect.document import document
from lanhaven.connect.recipe import Place
from lanhaven.errors import InvalidRequest, NoActiveModel
from lanhaven.providers.defaults import EngineDefaults
from lanhaven.server.services import Services
from lanhaven.types.models import Instance, InstanceState, ModelInfo, ModelKind

CHATTING = frozenset({ModelKind.LLM, ModelKind.VLM})
NO_MODEL = "YOUR-MODEL"  # stands in the recipes as long as there is none
LONGEST_URL = 512


def connect_router(services: Services) -> APIRouter:
    """One route."""
    router = APIRouter(prefix="/admin", tags=["admin"])

    async def connect(
        request: Request,
        model: Annotated[str | None, Query(max_length=512)] = None,
        base: Annotated[str | None, Query(max_length=LONGEST_URL)] = None,
    ) -> dict[str, Any]:
        """How apps are connected to this server: settings, what each needs of the model, and requests to test it.

        model: of which model (else the active one, the default one, or the first that chats). base: the address that
        apps are to use (else the one that was asked). `{{key}}` stands where the key goes.
        """
        url = checked_url(base) if base is not None else str(request.base_url).rstrip("/")
        keyed = request.scope.get("lanhaven.key") is not None
        return document(place(services, url, model or None, key_required=keyed))

    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such model."}}
    router.add_api_route("/connect", connect, methods=["GET"], responses=missing)
    return router


def checked_url(text: str) -> str:
    """An address of a server, without a slash at its end: it is put into shell commands and files. InvalidRequest."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or "@" in text or "?" in text or "#" in text or not text.isprintable() or " " in text:
        raise InvalidRequest(f"{text[:80]!r} is not an address of a server.", param="base",
                             hint="base=http://192.168.1.20:8002")  # fmt: skip
    return text.rstrip("/")


def place(services: Services, url: str, model: str | None, *, key_required: bool) -> Place:
    """What the recipes are filled with. ModelNotFound."""
    found = _chosen(services, model)
    own_ca = services.settings.tls and services.settings.tls_cert is None
    if found is None:
        return Place(url, NO_MODEL, key_required=key_required, own_ca=own_ca)
    name, info, instance = found
    return Place(
        url=url,
        model=name,
        key_required=key_required,
        context=_context(services, info, instance),
        longest=info.max_context,
        tools=_able(info, "tools"),
        vision=_able(info, "vision"),
        chat=info.kind in CHATTING,
        own_ca=own_ca,
    )


def _chosen(services: Services, model: str | None) -> tuple[str, ModelInfo, Instance | None] | None:
    """The name to ask for, the model, and an instance of it that is loaded; None if there is no model at all."""
    catalog, ids = services.catalog, services.pool.ids()
    try:
        target = catalog.resolve(model, ids)
    except NoActiveModel:
        ready = [each for each in catalog.models() if each.unavailable is None and each.kind in CHATTING]
        if not ready:
            return None
        target = catalog.resolve(ready[0].key, ids)
    info, named = target.info, target.instance_id
    running = [each for each in services.pool.instances() if each.state is InstanceState.READY]
    if named is not None:
        running = [each for each in running if each.instance_id == named]
    instance = next((each for each in running if each.model_key == info.key), None)
    return named if model and named else info.key, info, instance


def _context(services: Services, info: ModelInfo, instance: Instance | None) -> int | None:
    """Tokens that a request may have, as the model is loaded or would be; None where its server decides."""
    if instance is not None:
        return instance.load_config.context_length or info.max_context
    if info.load.context_length is not None:
        return info.load.context_length
    if info.path is None:
        return info.max_context
    default = services.settings.providers.get(info.provider, {}).get("context_length", EngineDefaults().context_length)
    return min(int(default), info.max_context or int(default))


def _able(info: ModelInfo, what: str) -> bool | None:
    """Whether the model can; None where that is not known."""
    if what in info.capabilities:
        return True
    return None if info.guessed or not info.capabilities else False
