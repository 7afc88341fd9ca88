"""Looking at a load while somebody waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lanhaven.client._model_types import LoadedInstance, LoadedModel, LoadProgress
from lanhaven.errors import GatewayError


class AsyncLoadWatch:
    """`look` asks the server's list of what is in memory, and tells `on_progress` what is new."""

    def __init__(
        self,
        listed: Callable[[], Awaitable[tuple[LoadedInstance, ...]]],
        model: str,
        instance_id: str | None,
        on_progress: Callable[[LoadProgress], None],
    ) -> None:
        self._listed = listed
        self._names = {instance_id} if instance_id is not None else {model}
        self._on_progress = on_progress
        self._told: LoadProgress | None = None

    async def look(self) -> None:
        """Once."""
        try:
            loaded = await self._listed()
        except GatewayError:
            return  # the load itself will tell
        for each in loaded:
            if each.state == "loading" and self._names & {each.path, each.identifier}:
                self._tell(each)
                return

    def ready(self, loaded: LoadedModel) -> None:
        """The last word."""
        self._on_progress(
            LoadProgress(
                model_key=loaded.model_key,
                instance_id=loaded.instance_id,
                stage="ready",
                progress=1.0,
                size_bytes=loaded.size_bytes,
            )
        )

    def _tell(self, entry: LoadedInstance) -> None:
        news = LoadProgress(
            model_key=entry.path,
            instance_id=entry.identifier,
            stage=entry.stage,
            progress=entry.progress,
            size_bytes=entry.size_bytes,
        )
        if news != self._told:
            self._told = news
            self._on_progress(news)
