"""Errors in LM Studio's words: `{"title", "cause"?, "suggestion"?, "displayData"?}`.

Clients tell errors apart by `displayData.code` alone: Python makes LMStudioModelNotFoundError of `noModelMatchingQuery`
and LMStudioPresetNotFoundError of `presetNotFound`. An error carries it in its facts, under DISPLAY.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lanhaven.errors import GatewayError, InstanceConflict, InvalidRequest, ModelNotFound

DISPLAY = "displayData"
SAMPLE = 10  # names that are shown of many


def error_object(error: GatewayError, loaded: Sequence[str] = ()) -> dict[str, Any]:
    """The ERR object. `loaded`: identifiers of the loaded models, for errors about a model that do not say them."""
    if isinstance(error, InstanceConflict):
        return {"title": error.message}  # on one line: Python prints an error with more fields over several
    body: dict[str, Any] = {"title": error.message, "rootTitle": error.message}
    if error.hint is not None:
        body["suggestion"] = error.hint
    display = error.facts.get(DISPLAY)
    if display is None and isinstance(error, ModelNotFound):
        display = _no_model({}, loaded)
    if display is not None:
        body[DISPLAY] = display
    return body


def no_model(query: Any, loaded: Sequence[str]) -> ModelNotFound:
    """No loaded model matches. `query`: what the client asked for, as text or as the query object."""
    return ModelNotFound(
        f"No loaded model matches {_shown(query)}.",
        hint="load it first, or ask for a model by its key",
        retry=False,
        facts={DISPLAY: _no_model(query, loaded)},
    )


def unloaded() -> ModelNotFound:
    """The very instance that the client holds a reference to is gone."""
    return ModelNotFound(
        "This instance of the model was unloaded.",
        retry=False,
        facts={DISPLAY: {"code": "generic.specificModelUnloaded"}},
    )


def no_path(path: str, available: Sequence[str]) -> ModelNotFound:
    """No model has this key or path. `available`: the paths of all."""
    return ModelNotFound(
        f"Model not found: {_shown(path)}",
        hint="lanhaven ls lists the models",
        retry=False,
        facts={
            DISPLAY: {
                "code": "generic.pathNotFound",
                "path": path,
                "availablePathsSample": list(available[:SAMPLE]),
                "totalModels": len(available),
            }
        },
    )


def wrong_domain(path: str, actual: str, expected: str) -> InvalidRequest:
    """The model is of the other kind: domains are "llm" and "embedding"."""
    return InvalidRequest(
        f"Model {_shown(path)} is of the kind {actual}, not {expected}.",
        retry=False,
        facts={
            DISPLAY: {
                "code": "generic.domainMismatch",
                "path": path,
                "actualDomain": actual,
                "expectedDomain": expected,
            }
        },
    )


def no_preset(wanted: str) -> InvalidRequest:
    """There are no presets here, so none of that name."""
    return InvalidRequest(
        f"There is no preset {_shown(wanted)}.",
        hint="say the settings in the request; LanHaven keeps a model's defaults in models.yaml",
        retry=False,
        facts={
            DISPLAY: {
                "code": "generic.presetNotFound",
                "specifiedFuzzyPresetIdentifier": wanted,
                "availablePresetsSample": [],
                "totalAvailablePresets": 0,
            }
        },
    )


def already_exists(identifier: str) -> InstanceConflict:
    """An explicit identifier that is taken."""
    return InstanceConflict(f"Model with identifier {_shown(identifier)} already exists", retry=False)


def _no_model(query: Any, loaded: Sequence[str]) -> dict[str, Any]:
    return {
        "code": "generic.noModelMatchingQuery",
        "query": query if isinstance(query, dict) else {"identifier": query},
        "loadedModelsSample": list(loaded[:SAMPLE]),
        "totalLoadedModels": len(loaded),
    }


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
