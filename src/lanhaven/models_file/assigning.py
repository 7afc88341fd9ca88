"""`key=value`: changes of an entry as the command line takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lanhaven.config.yaml_text import Scalar, parse, plain
from lanhaven.errors import InvalidRequest
from lanhaven.models_file.fields import ENTRY, LOAD, SAMPLING
from lanhaven.models_file.values import did_you_mean, snake, spelled

SECTIONS = frozenset({"load", "defaults", "config"})
LISTS = frozenset({"tags", "aliases", "stop"})
ALONE = frozenset(ENTRY) - SECTIONS - {"id"}
# Written at another place than they are said.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "gpu_ratio": ("load", "gpu", "ratio"),
    "gpu_layers": ("load", "gpu", "layers"),
    "idle_ttl": ("ttl",),
}


def assigned(texts: Iterable[str]) -> dict[str, Any]:
    """Changes for `Editor.update`, of "temperature=0.2", "aliases=a,b", "config.model_path=~/m.gguf"; "ttl=" removes.

    InvalidRequest for what is no key=value, or a field that is not known. Whether a value fits, the file says.
    """
    changes: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InvalidRequest(f"{text} is not key=value", param="assignment", hint="temperature=0.5")
        *places, name = _place(key.strip())
        inner = changes
        for place in places:
            inner = inner.setdefault(place, {})
        inner[name] = _value(name, value.strip())
    return changes


def _place(key: str) -> tuple[str, ...]:
    """Where in the entry it stands, as the file spells it."""
    section, dot, rest = key.partition(".")
    if dot and section == "config" and rest:
        return ("config", rest)  # the provider's own name for it
    name = snake(rest if dot and section in SECTIONS else key)
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    homes = {"": ALONE, "load": frozenset(LOAD) - {"gpu"}, "defaults": frozenset(SAMPLING)}
    for home, fields in homes.items():
        if name in fields and (not dot or home == section):
            return (home, spelled(name)) if home else (name,)
    known = (*ALONE, *homes["load"], *homes["defaults"], "config.NAME")
    raise InvalidRequest(f"{key} is no field of a model", param="assignment", hint=did_you_mean(name, known))


def _value(name: str, text: str) -> Any:
    if not text:
        return None
    if text[0] in "[{" and "\n" not in text:
        return plain(parse(f"value: {text}", "the value").entries["value"])
    if name in LISTS:
        return [each.strip() for each in text.split(",") if each.strip()]
    return plain(Scalar(text, quoted=False, line=0))
