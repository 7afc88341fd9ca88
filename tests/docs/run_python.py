"""Runs a Python file whose top level may await, as `python -m asyncio` and notebooks do."""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
from pathlib import Path
from types import FunctionType


async def main(text: str) -> None:
    code = compile(text, "block.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = FunctionType(code, {"__name__": "__main__"})()
    if inspect.iscoroutine(waiting):
        await waiting


asyncio.run(main(Path(sys.argv[1]).read_text(encoding="utf-8")))
