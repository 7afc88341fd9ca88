"""What went wrong with an engine's process, in words for a person."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from lanhaven.engines.guard import SPUN
from lanhaven.errors import EngineCrashed, EngineHung, GatewayError, LoadFailed, ProviderUnavailable, TemplateError

SIGKILL = 9  # the signal module of Windows has no such name
NO_PROGRAM = frozenset({126, 127})  # uvloop hands what cannot be executed to the shell, which ends with these
PROGRAM_HINT = "Check that the program exists, is executable and was built for this machine."
MEMORY_HINT = (
    "Most likely the system was out of memory: load it with a smaller context, fewer slots or a smaller quantization."
)


def cannot_start(name: str, program: str, error: OSError) -> ProviderUnavailable:
    """No process came to be (F-014)."""
    return ProviderUnavailable(
        f"The engine of {name} cannot be started: {Path(program).name}: {error.strerror}.", hint=PROGRAM_HINT
    )


def load_failed(name: str, returncode: int | None, reason: str | None) -> GatewayError:
    """The engine refused the model (it said why, or ended with a code), or was ended by a signal while it loaded."""
    if returncode is not None and returncode < 0:
        return crashed(name, returncode, reason, " while loading")
    if reason is None and returncode in NO_PROGRAM:
        return ProviderUnavailable(f"The engine of {name} cannot be started: it is no program.", hint=PROGRAM_HINT)
    said = reason or f"the engine ended with code {returncode} and gave no reason"
    return LoadFailed(
        f"{name} could not be loaded: {said.rstrip('.')}.",
        hint=MEMORY_HINT if re.search(r"\bmemory\b|failed to allocate", said) else None,
        facts={"exit_code": returncode},
    )


def too_slow(name: str, seconds: float) -> LoadFailed:
    return LoadFailed(
        f"Loading {name} took longer than {seconds:g} seconds.", hint="Raise load_timeout, or load a smaller model."
    )


def unloaded(name: str) -> LoadFailed:
    return LoadFailed(f"{name} was unloaded while it was loading.")


def crashed(name: str, returncode: int | None, reason: str | None, when: str = "") -> GatewayError:
    """The engine's process is gone. -9 without our doing is how the OOM killer looks from here (F-016)."""
    if returncode == SPUN:
        return template_broke(name, returncode)
    return EngineCrashed(
        f"The engine of {name} {_how(returncode)}{when}{': ' + reason.rstrip('.') if reason else ''}.",
        hint=MEMORY_HINT if returncode == -SIGKILL else None,
        facts={"exit_code": returncode},
    )


def template_broke(name: str, returncode: int | None) -> TemplateError:
    """It ended while it tried the model's chat template (F-171)."""
    return TemplateError(
        f"The chat template of {name} cannot be used: the engine {_how(returncode)} over it.",
        hint="a template that ends: `chat_template` of the model in models.yaml",
        retry=False,
        facts={"exit_code": returncode},
    )


def hung(name: str, why: str) -> EngineHung:
    return EngineHung(f"The engine of {name} hangs. {why}")


def _how(returncode: int | None) -> str:
    if returncode is None or returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
