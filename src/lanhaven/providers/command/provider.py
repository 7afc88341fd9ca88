"""Any program that serves OpenAI: vLLM, llama-server, a script. One child process per instance.

    models:
      - id: big
        provider: command
        config:
          command: [vllm, serve, Qwen/Qwen3-8B, --host, 127.0.0.1, --port, "${PORT}", --api-key, "${KEY}"]
          model: Qwen/Qwen3-8B

docs/providers.md is its manual. What is run comes from models.yaml alone: nothing of a request gets into a command line
or an environment, and no shell reads either.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lanhaven.config import engine_environment
from lanhaven.engines import group
from lanhaven.engines.command_worker import NO_PROGRAM
from lanhaven.engines.failure import PROGRAM_HINT
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.engines.probe import Address
from lanhaven.engines.process import EngineProcess, Plan, Timers
from lanhaven.errors import GatewayError, InvalidRequest, LoadFailed, ProviderUnavailable
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, ProviderContext
from lanhaven.providers.children import ChildProvider, Place, Progress, as_load_failure
from lanhaven.providers.command.config import BESIDES, GROUP, ROUTES, Program, read_defaults, read_program
from lanhaven.providers.command.words import (
    Listening,
    crash_reason,
    is_taken,
    reason,
    secrets_of,
    stage_of,
    struck,
)
from lanhaven.providers.defaults import TIMERS
from lanhaven.providers.ignoring import ignored
from lanhaven.types.models import LoadConfig, ModelInfo, Upstream

WORKER = "lanhaven.engines.command_worker"
PORTS = 3  # tried, if somebody takes one between our choice and the program's (F-012)
DECIDED = "the program's command says how it loads"


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def create(context: ProviderContext) -> CommandProvider:
    if sys.platform == "win32":
        raise ProviderUnavailable("Provider command needs process groups, which Windows has not.", hint="use WSL")
    return CommandProvider(context)


@dataclass(frozen=True, slots=True)
class _Start:
    """One try to start a program."""

    key: str
    instance_id: str
    program: Program
    place: Place
    api_key: str | None = field(repr=False)
    config: LoadConfig
    observer: LoadObserver
    progress: Progress

    @property
    def address(self) -> Address:
        return self.place.address or Address()


class CommandProvider(ChildProvider):
    """The provider `command`. `ports`: where free ones come from."""

    load_fields = frozenset({"slots", "idle_ttl"})
    sampling_fields = frozenset({"temperature", "top_p", "max_tokens", "stop", "seed", "stream"})

    def __init__(
        self, context: ProviderContext, *, timers: Timers = TIMERS, ports: Callable[[], int] = free_port
    ) -> None:
        """InvalidRequest: a setting of the provider is wrong. ProviderUnavailable: its folder's path is too long."""
        self._defaults = read_defaults(context.options)
        super().__init__(context, self._defaults, timers, unix_sockets=True)
        self._ports = ports
        self._secrets: Mapping[str, frozenset[str]] = {}  # by instance: what must not be read in its log

    # ---- models

    def describe(self, entry: ModelEntry) -> ModelInfo:
        try:
            program = read_program(entry.config)
        except InvalidRequest as error:
            return ModelInfo(entry.id, self.name, unavailable=error.message)
        abilities = program.routes - BESIDES
        told = program.capabilities
        usual = frozenset({"tools"}) if told is None and "chat" in abilities else frozenset[str]()
        return ModelInfo(
            entry.id,
            self.name,
            kind=program.kind,
            size_bytes=program.memory_bytes,
            max_context=program.context_length,
            capabilities=abilities | usual | (told or frozenset()),
            guessed=told is None and "chat" in abilities,  # is it one that sees? Who knows
            unavailable=_missing(program, self._folder),
        )

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return info.size_bytes

    # ---- instances

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        """As in the contract; a port that turns out to be taken is replaced by another one."""
        try:
            program = read_program(info.config)
        except InvalidRequest as error:
            raise as_load_failure(error, info.key) from error
        if (missing := await asyncio.to_thread(_missing, program, self._folder)) is not None:
            raise ProviderUnavailable(f"{info.key} cannot be started: {missing}", hint=PROGRAM_HINT, retry=False)
        for _ in range(PORTS):
            try:
                return await self._start(self._new(info.key, instance_id, program, config, observer))
            except _PortTaken:
                if program.port is not None:
                    break
        which = f"Port {program.port}" if program.port is not None else f"Each of {PORTS} ports"
        raise ProviderUnavailable(
            f"{which} that {info.key} was to listen at is taken by another program.",
            hint="use ${PORT}, or better ${SOCKET}, in config.command",
        )

    def _new(self, key: str, instance_id: str, program: Program, config: LoadConfig, observer: LoadObserver) -> _Start:
        place = self._children.place()
        if not program.uses("SOCKET"):
            place = replace(place, address=Address(port=program.port or self._ports()))
        api_key = place.key if program.uses("KEY") else program.api_key
        return _Start(key, instance_id, program, place, api_key, config, observer, Progress(observer, stage_of))

    async def _start(self, start: _Start) -> Loaded:
        start.progress.stage("starting")
        try:
            return await self._children.start(
                start.instance_id,
                start.key,
                start.observer,
                lambda gone: self._process(start, gone),
                lambda process, ready, size: self._loaded(start, process, size),
            )
        except LoadFailed as error:
            if start.address.socket is None and is_taken(self._children.logs(start.instance_id)):
                raise _PortTaken from error
            if error.facts.get("exit_code") == NO_PROGRAM:
                raise ProviderUnavailable(error.message, hint=PROGRAM_HINT, facts=error.facts) from None
            raise

    def _process(self, start: _Start, gone: Callable[[GatewayError], None]) -> EngineProcess:
        program, address = start.program, start.address
        values = {
            "PORT": str(address.port),
            "SOCKET": address.socket or "",
            "KEY": start.place.key,
            "MODEL": program.model or start.key,
        }
        command, env = program.filled(values)
        secrets = secrets_of(command, env, start.api_key)
        known = {name: each for name, each in self._secrets.items() if self._children.logs(name)}
        self._secrets = {**known, start.instance_id: secrets}
        settings: dict[str, Any] = {
            "command": command,
            "env": engine_environment(env),
            "cwd": str(program.cwd or self._folder),
            "socket": address.socket,
            "port": address.port,
            "health": program.health,
            "key": start.api_key,
            "start_timeout": program.start_timeout,
            "metrics": None,
        }
        stop = self._timers.terminate if program.stop_seconds is None else program.stop_seconds
        return EngineProcess(
            Plan(
                start.key,
                module_command(WORKER),
                settings,
                module_environment(engine_environment({})),
                self._folder,
                start.api_key or "",
                address,
                stop_signal=program.stop_signal,
            ),
            timers=replace(self._timers, terminate=stop),
            explain=lambda lines: reason([struck(line, secrets) for line in lines]),
            explain_crash=lambda lines: crash_reason([struck(line, secrets) for line in lines]),
            admit=lambda line: line if program.keep_log else None,
            on_line=Listening(start.progress).line,
            on_effort=start.progress.effort,
            on_gone=gone,
        )

    def _loaded(self, start: _Start, process: EngineProcess, size_bytes: int) -> Loaded:
        """_PortTaken: whoever answers there, it is not the program that we started (F-013)."""
        program, address = start.program, start.address
        known_to_listen = address.socket is not None or program.listener != GROUP or process.pid is None
        if not known_to_listen and group.listens(process.pid or 0, address.port) is False:
            raise _PortTaken
        upstream = Upstream(
            model=program.model or start.key,
            base_url=address.base_url,
            socket=address.socket,
            headers=(("authorization", f"Bearer {start.api_key}"),) if start.api_key else (),
            slots=start.config.slots or program.slots or self._defaults.default_slots,
            routes=frozenset(ROUTES[each] for each in program.routes),
        )
        known = LoadConfig(context_length=program.context_length, slots=upstream.slots, idle_ttl=start.config.idle_ttl)
        applied = {"slots": upstream.slots} if start.config.slots is not None else {}
        return Loaded(upstream, known, size_bytes, applied, ignored(start.config, self.load_fields, DECIDED))

    def logs(self, instance_id: str) -> Sequence[str]:
        """Without the secrets that stand in models.yaml."""
        secrets = self._secrets.get(instance_id, frozenset())
        return [struck(line, secrets) for line in self._children.logs(instance_id)]

    # ---- as such

    async def health(self) -> Health:
        count = len(await self._children.instances())
        return Health(ok=True, kind="engine", detail=f"{count} program{'' if count == 1 else 's'} running")


class _PortTaken(Exception):
    """Somebody else listens at the port that the program was given."""


def _missing(program: Program, folder: Path) -> str | None:
    """Why it cannot be started at all; None if it probably can. `folder`: where it runs, if it says nothing."""
    if program.cwd is not None and not program.cwd.is_dir():
        return "config.cwd is no folder."
    name, path = program.command[0], program.env.get("PATH") or engine_environment({}).get("PATH")
    if "/" in name:
        name = str((program.cwd or folder) / name)
    if shutil.which(name, path=path) is None:
        return f"config.command: there is no program {Path(name).name!r} that can be run."
    return None
