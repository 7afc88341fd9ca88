"""A gateway in small that can be killed: starts an engine from its settings line, prints its pid, and waits.

Arguments: the command line of the engine as JSON, its settings as JSON, and a part of a log line at which to print the
pid ("" = when it is ready), and "thread" to run the event loop outside of the main thread.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path

from lanhaven.config import engine_environment
from lanhaven.engines.interpreter import module_environment
from lanhaven.engines.llamacpp_log import reason
from lanhaven.engines.process import EngineProcess, Plan


async def run(command: list[str], settings: dict[str, object], mark: str) -> None:
    def tell(line: str) -> None:
        if mark and mark in line:
            say()

    def say() -> None:
        sys.stdout.write(f"{process.pid}\n")
        sys.stdout.flush()

    plan = Plan(
        "m", command, settings, module_environment(engine_environment({})), Path(str(settings["listen"])).parent
    )
    process = EngineProcess(plan, explain=reason, on_line=tell)
    await process.start()
    if not mark:
        say()
    await asyncio.Event().wait()


def main() -> None:
    command, settings, mark = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    if "thread" in sys.argv[4:]:
        thread = threading.Thread(target=asyncio.run, args=(run(command, settings, mark),))
        thread.start()
        thread.join()
    else:
        asyncio.run(run(command, settings, mark))


if __name__ == "__main__":
    main()
