"""Sizes, times and settings as people write and read them. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime

from lanhaven.cli.failure import CliError, Exit

_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")

# What `--set` takes: the admin API's name for each, under the names people use.
_SAMPLING = {
    "temperature": "temperature",
    "maxtokens": "maxTokens",
    "topp": "topP",
    "topk": "topK",
    "minp": "minP",
    "repeatpenalty": "repeatPenalty",
    "stop": "stopStrings",
    "stopstrings": "stopStrings",
    "seed": "seed",
    "stream": "stream",
    "contextoverflow": "contextOverflow",
}


def size(count: float) -> str:
    """Bytes in decimal units: "128 MB", "5.6 GB"."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if amount >= 100 or unit in ("B", "kB") else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def seconds(amount: float) -> str:
    """A length of time, rounded to what matters: "0.7 s", "45 s", "29 min", "2 h 5 min", "3 d 4 h"."""
    if amount < 10:
        return f"{amount:.1f} s"
    if amount < 90:
        return f"{amount:.0f} s"
    minutes = round(amount / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def here(moment: str) -> str:
    """A time of ISO 8601 by the clock of this machine: 2026-11-22 02:19:07."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M:%S}"


def read_seconds(text: str) -> float:
    """ "30m", "1h30m", "90s", "90" (seconds), "never" (0) as seconds. CliError for anything else."""
    written = text.strip().lower()
    if written in ("never", "off", "0"):
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", written):
        return float(written)
    if re.fullmatch(rf"(?:{_TIME.pattern}\s*)+", written):
        return sum(float(number) * _TIME_UNITS[unit] for number, unit in _TIME.findall(written))
    raise CliError(f"{text!r} is not a length of time", "30m, 1h30m, 90s or never", status=Exit.USAGE)


def read_gpu(text: str) -> dict[str, float | int]:
    """max, off, a share such as 0.5, or a number of layers, as the admin API's `gpu` object. CliError otherwise."""
    written = text.strip().lower()
    if written == "max":
        return {"ratio": 1.0}
    if written == "off":
        return {"ratio": 0.0}
    if re.fullmatch(r"\d+", written):
        return {"layers": int(written)}
    if re.fullmatch(r"\d*\.\d+", written) and float(written) <= 1:
        return {"ratio": float(written)}
    raise CliError(
        f"{text!r} is not a GPU setting", "--gpu max, --gpu off, --gpu 0.5 or --gpu 24 (layers)", status=Exit.USAGE
    )


def read_sampling(settings: list[str] | None) -> dict[str, object]:
    """`--set name=value` options as the admin API's `defaultInference`. CliError for a bad name or form."""
    result: dict[str, object] = {}
    stops: list[object] = []
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        key = _SAMPLING.get(name.strip().replace("_", "").replace("-", "").lower())
        if key is None or not equals:
            names = ", ".join(sorted(set(_SAMPLING.values())))
            raise CliError(
                f"--set {setting} is not a setting I know", f"--set temperature=0.2 (or {names})", status=Exit.USAGE
            )
        value = read_value(text)
        if key == "stopStrings":
            stops.extend(value if isinstance(value, list) else [text])
        else:
            result[key] = value
    return result | {"stopStrings": stops} if stops else result


def read_value(text: str) -> object:
    """A JSON value where the text is one, else the text itself. NaN and Infinity are text: they are not JSON."""
    try:
        return json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text


def _not_json(name: str) -> object:
    raise ValueError(name)
