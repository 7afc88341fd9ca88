"""The options of `keys add` and `keys set`, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lanhaven.cli.failure import CliError, Exit
from lanhaven.cli.units import read_seconds

if TYPE_CHECKING:
    from lanhaven.keys.key import KeyScope, Terms

LIMITS = ("requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_day")
NONE = "none"  # takes a bound away

ScopeNames = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="SCOPE", help="inference (a new key has it), admin or debug; repeatable."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models", metavar="NAMES", help="The only models it may use: names or patterns, e.g. 'qwen*,minilm'."
    ),
]
RequestsPerMinute = Annotated[int | None, typer.Option("--rpm", min=0, help="Requests within a minute at most.")]
RequestsPerDay = Annotated[int | None, typer.Option("--rpd", min=0, help="Requests within a day at most.")]
TokensPerMinute = Annotated[int | None, typer.Option("--tpm", min=0, help="Tokens within a minute at most.")]
TokensPerDay = Annotated[int | None, typer.Option("--tpd", min=0, help="Tokens within a day at most.")]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="When it ends: after 30d, or at the end of 2026-12-31 (UTC)."),
]
Networks = Annotated[
    list[str] | None,
    typer.Option(
        "--network", metavar="NETWORK", help="The only network it is good in, e.g. 192.168.1.0/24; repeatable."
    ),
]
LmStudio = Annotated[bool, typer.Option("--lmstudio", help="Of the form that LM Studio's clients take.")]


def read_scopes(names: Sequence[str] | None) -> frozenset[KeyScope] | None:
    """The scopes; None where none are named. CliError for a word that is none."""
    from lanhaven.keys.key import KeyScope

    known = {each.value: each for each in KeyScope}
    wrong = [each for each in names or () if each not in known]
    if wrong:
        raise CliError(f"there is no scope {wrong[0]!r}", f"--scope {' or '.join(known)}", status=Exit.USAGE)
    return frozenset(known[each] for each in names) if names else None


def read_terms(
    terms: Terms,
    *,
    models: Sequence[str] | None,
    limits: Sequence[int | None],
    expires: str | None,
    networks: Sequence[str] | None,
) -> Terms:
    """`terms` with what the options say. limits: in the order of LIMITS. CliError."""
    said = {name: amount or None for name, amount in zip(LIMITS, limits, strict=True) if amount is not None}
    return replace(
        terms,
        models=terms.models if models is None else _listed(models),
        networks=terms.networks if networks is None else _listed(networks),
        expires=terms.expires if expires is None else read_end(expires),
        limits=replace(terms.limits, **said),
    )


def read_end(text: str) -> float | None:
    """ "30d" (from now) or "2026-12-31" (the end of that day in UTC) as seconds since the epoch; None for "none"."""
    from lanhaven.keys.key import moment
    from lanhaven.keys.store import seconds_now

    written = text.strip().lower()
    if written in (NONE, "never"):
        return None
    if "-" in written:
        try:
            return moment(written.upper())
        except ValueError:
            raise CliError(f"{text!r} is no date", "--expires 2026-12-31, or 30d", status=Exit.USAGE) from None
    seconds = read_seconds(written)
    if seconds <= 0:
        raise CliError("a key that ends at once is none", "lanhaven keys rm NAME", status=Exit.USAGE)
    return seconds_now() + seconds


def _listed(texts: Iterable[str]) -> tuple[str, ...]:
    """The entries of repeated options, each of which may hold several; none for "none"."""
    found = tuple(part.strip() for text in texts for part in text.split(",") if part.strip())
    if not found:
        raise CliError("a list without an entry", f"{NONE} takes the bound away", status=Exit.USAGE)
    return () if found == (NONE,) else found
