"""How wide each column of a table may be, so that a line of it is a line of the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

GAP = 2  # signs between two columns
LEAST = 12  # signs that a column keeps which may be cut, as long as there is a spare one to leave out
SHORTEST = 4


def fitted(widths: Sequence[int], spare: Collection[int], cut: Collection[int], room: int) -> dict[int, int]:
    """Index and width of the columns that stay. `widths`: what their texts would take; `room`: the line.

    Spare columns go first, from the right; then those that may be cut are cut, the widest first; and when even that is
    not enough, all of them.
    """
    shown = dict(enumerate(widths))
    for index in sorted(spare, reverse=True):
        if _taken(min(width, LEAST) if each in cut else width for each, width in shown.items()) <= room:
            break
        del shown[index]
    _narrow(shown, [each for each in shown if each in cut], room)
    _narrow(shown, list(shown), room)
    return shown


def _narrow(shown: dict[int, int], which: Sequence[int], room: int) -> None:
    """Take from the widest of these, sign by sign, until the line is short enough or nothing is left to take."""
    while _taken(shown.values()) > room and which:
        widest = max(which, key=shown.__getitem__)
        if shown[widest] <= SHORTEST:
            return
        shown[widest] -= 1


def _taken(widths: Iterable[int]) -> int:
    return sum(width + GAP for width in widths) - GAP
