"""Progress bars: on a terminal only, on stderr."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lanhaven.cli import output, units
from lanhaven.cli.connection import Server
from lanhaven.cli.failure import CliError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from lanhaven.cli.bench_figures import Level

LOOK = 0.2  # seconds between two looks at a load


@contextmanager
def load_progress(server: Server, model: str, instance: str | None) -> Iterator[None]:
    """A bar for a load that the body of this block waits for, fed by what the server lists about it."""
    if not sys.stderr.isatty():
        output.message(f"loading {model}")
        yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    amount = TextColumn("{task.fields[amount]}")  # rich's own column says "0/? bytes" where the size is not known
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    done = threading.Event()
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task(output.printable(f"loading {model}"), total=None, amount="")

        def look() -> None:
            # A daemon thread: Ctrl-C reaches the main thread, which holds the connection that must close.
            with Server(server.target) as eyes:
                while not done.wait(LOOK):
                    _show_load(eyes, model, instance, lambda **fields: progress.update(task, **fields))

        threading.Thread(target=look, daemon=True, name="load progress").start()
        try:
            yield
        finally:
            done.set()


def _show_load(server: Server, model: str, instance: str | None, update: Callable[..., None]) -> None:
    try:
        loaded = server.get("/admin/models")["loaded"]
    except CliError:
        return  # the load itself will tell
    loading = [each for each in loaded if each["state"] == "loading"]
    mine = [each for each in loading if instance == each["identifier"] or model in (each["path"], each["identifier"])]
    entry = next(iter(mine or loading), None)
    if entry is None:
        return
    stage = f" · {entry['stage']}" if entry["stage"] else ""
    size, share = entry["sizeBytes"], entry["progress"]
    text = output.printable(f"loading {entry['path']}{stage}")
    if size and share is not None:
        amount = f"{units.size(share * size)} of {units.size(size)}"
        update(description=text, total=size, completed=share * size, amount=amount)
    else:
        update(description=text)


@contextmanager
def fetch_progress(name: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for a model that arrives; the block gets a function to call with (stage, bytes so far, in all or None).

    Off a terminal each stage is told once.
    """
    if not sys.stderr.isatty():
        yield _told_once(name)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (
        *(TextColumn("{task.description}"), BarColumn()),
        *(DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn()),
    )
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)

        def report(stage: str, done: int, total: int | None) -> None:
            progress.update(task, description=f"{stage} {name}", completed=done, total=total)

        yield report


def _told_once(name: str) -> Callable[[str, int, int | None], None]:
    told: set[str] = set()

    def report(stage: str, done: int, total: int | None) -> None:
        if stage not in told:
            told.add(stage)
            output.message(f"{stage} {name}" + (f" ({units.size(total)})" if total else ""))

    return report


@contextmanager
def bench_progress(numbers: Callable[[int], int | None], limit: float | None) -> Iterator[Callable[[Level], None]]:
    """A bar for each level of a measurement; the block gets a function to call when a level begins and after each
    request. numbers: how many requests a level has. limit: seconds of a level, where it has no number."""
    if not sys.stderr.isatty():
        yield _level_begun
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}"), TimeElapsedColumn())
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        tasks: dict[int, TaskID] = {}

        def told(level: Level) -> None:
            total, done = numbers(level.concurrency), len(level.samples) + level.failed
            if level.concurrency not in tasks:
                tasks[level.concurrency] = progress.add_task(f"{level.concurrency:3} at once", total=1, amount="")
            amount = f"{done} of {total}" if total else f"{done}"
            share = done / total if total else min(level.seconds / (limit or 1), 1)
            progress.update(tasks[level.concurrency], completed=share, amount=amount)

        yield told


def _level_begun(level: Level) -> None:
    """Off a terminal each level is told once."""
    if not level.samples and not level.failed:
        output.message(f"{level.concurrency} at once")
