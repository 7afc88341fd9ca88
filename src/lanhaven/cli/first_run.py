"""What `up` prepares before the server starts: folders, a models.yaml, a first model, a key for the LAN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanhaven.cli import importing, output
from lanhaven.cli.failure import CliError, Exit
from lanhaven.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

    from lanhaven.config import Settings

FIRST_MODEL = "smollm2"


def prepare(settings: Settings) -> None:
    """Everything that a server needs before its first start, and nothing when all is there. GatewayError, CliError."""
    _refuse_open(settings)
    for setting, folder in own_folders(settings).items():
        _make(setting, folder)
    if not settings.mock:
        _models(settings)


def own_folders(settings: Settings) -> dict[str, Path]:
    """Where the server keeps things for good, by setting."""
    return {"config_dir": settings.config_dir, "data_dir": settings.data_dir, "state_dir": settings.state_dir}


def refuse_second(settings: Settings) -> None:
    """CliError if a server of this user runs already. Whoever asks for another port means a second one."""
    from lanhaven import runfile

    running = runfile.read(settings.state_dir)
    if running is None or "port" in settings.model_fields_set:
        return
    raise CliError(
        f"LanHaven runs already at {running.url} (process {running.pid})",
        "lanhaven status",
        f"lanhaven up --port {settings.port + 1}    (a second one)",
    )


def _refuse_open(settings: Settings) -> None:
    """UnsafeBind before anything is fetched; the server looks once more. With `--lan` the missing key is made."""
    from lanhaven.keys.exposure import check_bind
    from lanhaven.keys.store import KeyStore

    if not settings.lan and not settings.open_to_all:
        check_bind(settings, KeyStore.from_settings(settings))


def _make(setting: str, path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(
            f"the folder {path} cannot be made: {error.strerror}",
            f"make it writable, or name another one in LANHAVEN_{setting.upper()}",
            "lanhaven config show --origin",
        ) from None


def _models(settings: Settings) -> None:
    """A models.yaml, and a model in it."""
    from lanhaven.cli.neighbours import found
    from lanhaven.models_file import create, models_path, read

    path = models_path(settings)
    if settings.models_file is not None and not path.exists():
        raise CliError(f"there is no file {path}", "lanhaven up (without --models)", status=Exit.NOT_FOUND)
    if create(path):
        output.message(f"first run: {path} is new")
        for each in found(settings.lmstudio_base_url):
            output.message(f"found {each.text}; to serve its models add it to models.yaml (provider: openai)")
        importing.tell_of_stores()
    drives = "lmstudio_base_url" in settings.model_fields_set or settings.providers.keys() & {"lmstudio", "ollama"}
    if not read(path).entries and not drives:
        _first_model(settings)


def _first_model(settings: Settings) -> None:
    """The packed chat model; without it the server still serves, so a failure is told and no more."""
    from lanhaven.cli.get import fetch_and_register

    missing = _missing_engine(settings)
    if missing is not None:
        output.note(f"no model is configured, and none can run here: {missing}")
        return
    output.message(f"no model is configured: fetching {FIRST_MODEL}, a small one (98 MB)")
    try:
        fetch_and_register(settings, FIRST_MODEL)
    except GatewayError as error:
        output.note(f"{error.message} {error.hint or ''}".strip())


def _missing_engine(settings: Settings) -> str | None:
    """Why no GGUF model can run; None if one can, by whichever engine."""
    from lanhaven.providers.llamacpp.forms import Forms
    from lanhaven.providers.llamacpp.options import read_defaults

    try:
        return Forms(read_defaults(settings.providers.get("llama_cpp", {}))).default.missing
    except GatewayError as error:
        return error.message
