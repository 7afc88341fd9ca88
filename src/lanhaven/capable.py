"""Whether a model can do what a request asks of it, before anything is loaded for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lanhaven.errors import InvalidRequest
from lanhaven.types.chat import Route
from lanhaven.types.models import ModelInfo

Known = Callable[[], Iterable[ModelInfo]]  # the models that an error may name


def check_route(info: ModelInfo, route: Route, known: Known) -> None:
    """InvalidRequest for a model that is known to be made for something else."""
    able, need = info.capabilities, route.capability
    if need is not None and able and need not in able:
        raise InvalidRequest(
            f"Model {info.key} cannot do {need}: it is made for {', '.join(sorted(able))}.",
            param="model",
            hint=_who_can(need, known),
            retry=False,
        )


def check_sight(info: ModelInfo | None, place: str, known: Known) -> None:
    """InvalidRequest for an image at `place` that the model cannot see."""
    if info is not None and info.blind:
        raise InvalidRequest(
            f"Model {info.key} cannot see images.", param=place, hint=_who_can("vision", known), retry=False
        )


def _who_can(need: str, known: Known) -> str | None:
    able: Mapping[str, None] = dict.fromkeys(each.key for each in known() if need in each.capabilities)
    return f"These can: {', '.join(able)}" if able else None
