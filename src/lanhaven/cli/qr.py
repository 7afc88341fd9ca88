"""A QR code for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

QUIET = 2  # light modules around the code; four are the rule, two are enough for every phone
HALVES = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}  # dark is the background


def rows(text: str, columns: int) -> Iterator[str]:
    """The lines of the code, two rows of modules in each; nothing if the terminal has not that many columns.

    Light modules are drawn, dark ones left: so it can be read on a dark terminal, and by most phones on a light one.
    """
    import segno

    matrix = segno.make(text, error="l", micro=False).matrix
    width = len(matrix) + 2 * QUIET
    if width > columns:
        return
    light = [False] * width
    modules = [light] * QUIET
    modules += [[False] * QUIET + [bool(module) for module in row] + [False] * QUIET for row in matrix]
    modules += [light] * QUIET
    if len(modules) % 2:
        modules.append(light)
    for upper, lower in zip(modules[::2], modules[1::2], strict=True):
        yield "".join(HALVES[pair] for pair in zip(upper, lower, strict=True))
