"""Checks of the engines: which of them would run GGUF models here, why that one, and what it can compute on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lanhaven.cli.checks import Check
from lanhaven.errors import GatewayError

if TYPE_CHECKING:
    from lanhaven.config import Settings
    from lanhaven.providers.llamacpp.form import Form

NAME = "llama.cpp"


def llama_cpp(settings: Settings) -> Check:
    """It is started once, without a model, as a load would start it."""
    from lanhaven.providers.llamacpp.forms import Forms
    from lanhaven.providers.llamacpp.options import read_defaults

    try:
        form = Forms(read_defaults(settings.providers.get("llama_cpp", {}))).default
        if form.missing is not None:
            return Check(NAME, "warn", f"no GGUF model can run here: {form.missing}", form.remedy)
        asyncio.run(_ask(form))
    except GatewayError as error:
        return Check(NAME, "fail", error.message, error.hint or "correct providers.llama_cpp in config.yaml")
    return Check(NAME, "ok", _told(form))


async def _ask(form: Form) -> None:
    from lanhaven.providers.defaults import TIMERS

    with tempfile.TemporaryDirectory(prefix="lh") as folder:
        await form.ask(Path(folder), TIMERS)


def _told(form: Form) -> str:
    from lanhaven.providers.llamacpp.plan import devices_in_words

    name = " ".join(filter(None, (form.name, form.version)))
    return ", ".join([f"{name} ({form.why})", *devices_in_words(form.devices or ())])
