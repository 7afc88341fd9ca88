"""llama.cpp by a llama-server of somebody's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.config import engine_environment
from lanhaven.engines import llama_server
from lanhaven.engines.interpreter import module_command, module_environment
from lanhaven.engines.llamacpp_log import LAST_STAGE, STAGES
from lanhaven.engines.process import Plan, Timers, Trial
from lanhaven.errors import ProviderUnavailable
from lanhaven.providers.base import Ignored
from lanhaven.providers.children import Place
from lanhaven.providers.llamacpp.form import Form

CPU: Mapping[str, Any] = MappingProxyType({"name": "CPU", "description": "CPU", "type": "CPU", "memory_total": 0})
# Settings as the admin API calls them.
_CALLED: Mapping[str, str] = MappingProxyType(
    {
        "n_gpu_layers": "gpu.layers",
        "rope_freq_base": "ropeFrequencyBase",
        "rope_freq_scale": "ropeFrequencyScale",
        "flash_attention": "flashAttention",
        "kv_type": "kvType",
        "threads": "cpuThreads",
    }
)


class LlamaServer(Form):
    """A program with llama-server's command line; `setting`: what names it."""

    def __init__(self, program: str, args: Sequence[str], setting: str, why: str) -> None:
        self._setting, self._args = setting, tuple(args)
        self._env = engine_environment({})
        self._path = llama_server.find(program, self._env.get("PATH"))
        missing = f"{setting}: there is no program {Path(program).name!r} that can be run."
        remedy = f"correct {setting}: a llama-server that runs, built for this machine"
        super().__init__("llama-server", why, missing=missing if self._path is None else None, remedy=remedy)
        self._flags: frozenset[str] = frozenset()
        self._seen: object = None  # the file as it was when it was asked

    async def ask(self, folder: Path, timers: Timers) -> None:
        await self.prepare()

    async def prepare(self) -> None:
        """ProviderUnavailable names the setting (F-014). Another build in its place is asked anew."""
        try:
            if self._path is None:
                raise ValueError("there is none")
            state = self._path.stat()
            if self._seen != (seen := (state.st_mtime_ns, state.st_size, state.st_ino)):
                said = await asyncio.to_thread(llama_server.ask, str(self._path), self._env)
                self._seen, self._flags, self.version = seen, said.flags, said.version or None
                self.devices = (CPU, *said.devices)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ProviderUnavailable(
                f"The llama-server of {self._setting} cannot be used: {why}.",
                hint=self.remedy,
                retry=False,
            ) from None

    def plan(self, key: str, settings: Mapping[str, object], place: Place, folder: Path) -> Plan:
        words, _ = llama_server.arguments({**settings, "listen": place.listen}, self._flags)
        env = {**self._env, llama_server.KEY_VARIABLE: place.key}
        if settings.get("chat_template") and not settings.get("chat_template_path"):
            env["LLAMA_ARG_CHAT_TEMPLATE"] = str(settings["chat_template"])
        address = place.address
        told = {
            "command": [str(self._path), *words, *self._args],
            "env": env,
            "cwd": str(folder),
            "socket": address.socket if address is not None else None,
            "port": 0,
            "health": "/health",
            "key": place.key,
            "start_timeout": None,
            "metrics": "/metrics" if "--metrics" in self._flags else None,
        }
        command = module_command("lanhaven.engines.command_worker")
        environment = module_environment(self._env)
        own = settings.get("chat_template") or settings.get("chat_template_path")
        trial = Trial(STAGES) if own else None  # it tries such a template among its options
        return Plan(key, command, told, environment, folder, place.key, address, "listening on", LAST_STAGE, trial)

    def ignored(self, settings: Mapping[str, object]) -> list[Ignored]:
        _, unknown = llama_server.arguments(settings, self._flags)
        return [
            Ignored(_CALLED[name], "this build of llama-server has no option for it")
            for name in unknown
            if name in _CALLED
        ]
