"""Calling a provider with deadlines: no load and no unload is waited for without end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from lanhaven.errors import EngineHung, GatewayError, InternalError, UpstreamTimeout
from lanhaven.providers.base import Loaded, Provider, Running
from lanhaven.residency.resident import Phase, Resident
from lanhaven.residency.settings import PoolSettings

_log = logging.getLogger(__name__)
_FULL = 1.0
_ANSWER_SECONDS = 10.0
_STEP = 0.01  # smaller steps of progress are no event


class LoadWatch:
    """What the provider tells about one instance: its progress, and later its end."""

    def __init__(
        self,
        resident: Resident,
        settings: PoolSettings,
        moved: Callable[[Resident], None],
        ended: Callable[[Resident, Exception], None],
    ) -> None:
        self._resident, self._settings = resident, settings
        self._moved, self._ended = moved, ended
        self._scope: asyncio.Timeout | None = None
        self._latest = 0.0
        self._told: float | None = None
        self._ended_early: Exception | None = None

    def progress(self, stage: str, fraction: float | None = None) -> None:
        """A sign of life counts only if it says something new."""
        resident = self._resident
        if (
            self._scope is None
            or resident.phase is not Phase.LOADING
            or (stage, fraction) == (resident.stage, resident.progress)
        ):
            return
        staged = stage != resident.stage
        resident.stage, resident.progress = stage, fraction
        now = asyncio.get_running_loop().time()
        if not self._scope.expired():
            self._scope.reschedule(min(self._latest, now + self._settings.load_stall))
        if staged or fraction is None or self._told is None or fraction >= min(_FULL, self._told + _STEP):
            self._told = fraction
            self._moved(resident)

    def gone(self, error: Exception) -> None:
        if self._scope is not None:
            self._ended_early = error  # before `load` has returned: then it must not count as loaded
        else:
            self._ended(self._resident, error)

    async def load(self) -> Loaded:
        """The provider's load within its deadlines. Raises GatewayErrors and CancelledError only."""
        resident, settings = self._resident, self._settings
        try:
            async with asyncio.timeout(min(settings.load_timeout, settings.load_stall)) as scope:
                self._scope = scope
                self._latest = asyncio.get_running_loop().time() + settings.load_timeout
                loaded = await resident.provider.load(resident.info, resident.instance_id, resident.config, self)
            if self._ended_early is not None:
                raise self._ended_early
            return loaded
        except GatewayError:
            raise
        except TimeoutError as error:
            if not scope.expired():
                raise _defect(resident, "load", error) from error
            late = asyncio.get_running_loop().time() >= self._latest
            raise _too_slow(resident, settings) if late else _stalled(resident, settings) from None
        # A provider is a plug-in: whatever it raises must fail the waiters rather than leave them waiting.
        except Exception as error:
            raise _defect(resident, "load", error) from error
        finally:
            self._scope = None


async def stop_loading(resident: Resident, timeout: float) -> None:
    """Cancel a running load and wait until what it started has ended."""
    task = resident.load_task
    if task is None or task.done():
        return
    task.cancel()
    _, pending = await asyncio.wait((task,), timeout=timeout)
    if pending:
        _log.error("the load of %s did not end within %.0f s of its cancellation", resident.instance_id, timeout)


async def unload(resident: Resident, timeout: float) -> GatewayError | None:
    """The provider's unload within its deadline; the error, if it failed."""
    try:
        async with asyncio.timeout(timeout) as scope:
            await resident.provider.unload(resident.instance_id)
    except GatewayError as error:
        return error
    except TimeoutError as error:
        if not scope.expired():
            return _defect(resident, "unload", error)
        return EngineHung(
            f"Instance {resident.instance_id} did not end within {timeout:.0f} s", facts={"seconds": timeout}
        )
    # As for load: an instance must not stay in the books for ever because its provider has a defect.
    except Exception as error:  # noqa: BLE001
        return _defect(resident, "unload", error)
    return None


async def ask_running(name: str, provider: Provider) -> Sequence[Running] | None:
    """What the provider says is running; None where it cannot tell now: unreachable is not empty."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await provider.instances()
    except (GatewayError, TimeoutError):
        return None
    # As for load: one plug-in with a defect must not end the sweeping of all.
    except Exception as error:  # noqa: BLE001
        _log.error("provider %s failed to say what is running", name, exc_info=error)
        return None


def _stalled(resident: Resident, settings: PoolSettings) -> EngineHung:
    return EngineHung(
        f"Model {resident.info.key} made no progress for {settings.load_stall:.0f} s while loading"
        + (f" (stage: {resident.stage})" if resident.stage else ""),
        hint="read the engine's log; raise load_stall if the disk is slow",
    )


def _too_slow(resident: Resident, settings: PoolSettings) -> UpstreamTimeout:
    return UpstreamTimeout(
        f"Model {resident.info.key} was not loaded within {settings.load_timeout:.0f} s",
        hint="raise load_timeout, or choose a smaller model",
    )


def _defect(resident: Resident, operation: str, error: Exception) -> InternalError:
    _log.error("provider %s failed to %s %s", resident.info.provider, operation, resident.instance_id, exc_info=error)
    return InternalError(
        f"Provider {resident.info.provider} failed to {operation} {resident.instance_id} in an unforeseen way"
    )
