"""The images of one request, made ready for its model: found, checked, fetched if that is allowed, read, resized.

Afterwards each is a data URI of a PNG or JPEG, whatever it was; no address and no unread byte goes on to an engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from lanhaven.errors import InvalidRequest, UnsupportedFeature
from lanhaven.media.recent import Recent, key_of
from lanhaven.media.slots import Slot, find
from lanhaven.media.sources import Encoded, Limits, is_address, read_source, refused
from lanhaven.media.workers import Answer, Workers
from lanhaven.types.images import Sizing

REMEDY = "pip install 'lanhaven[vision]'"
HOW_TO_FETCH = "To have images fetched, name their hosts in config.yaml: image_hosts: [images.example.com]"
TURNS = 10  # full of images, that a conversation may have
FETCHES = 4  # at once, of all requests: each may hold as many bytes as an image may have


class Fetches(Protocol):
    """Brings images from addresses."""

    async def get(self, url: str) -> bytes:
        """The image's bytes. InvalidRequest, whose message says what happened to it."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Images:
    """Reads images for every dialect. `fetcher` None: addresses are refused. longest: side that models get, 0 = any."""

    def __init__(
        self,
        workers: Workers,
        *,
        limits: Limits,
        longest: int,
        fetcher: Fetches | None,
        installed: bool,
    ) -> None:
        self.limits = limits
        self.longest = longest
        self._workers = workers
        self._recent = Recent()
        self._fetcher = fetcher
        self._fetching = asyncio.Semaphore(FETCHES)
        self._installed = installed

    def __repr__(self) -> str:
        return f"Images({self._workers!r}, {self._recent!r})"

    @property
    def available(self) -> bool:
        """Whether images can be read here at all."""
        return self._installed

    @property
    def fetches(self) -> bool:
        """Whether addresses are taken, from some hosts."""
        return self._fetcher is not None

    def find(self, body: Mapping[str, Any]) -> Sequence[Slot]:
        """The images of a body. InvalidRequest for too many, and for addresses where those are refused.

        Clients send the images of earlier turns again and again: a conversation must not fail for ever at the eleventh.
        """
        slots, most = find(body), self.limits.most_images
        new = [each for each in slots if each.new]
        if len(new) > most:
            told = f"A request may bring at most {most} images, this one has {len(new)}."
            raise InvalidRequest(told, param=new[most].place, retry=False, facts={"max_images": most})
        if len(slots) > most * TURNS:
            told = f"A conversation may hold at most {most * TURNS} images, this one has {len(slots)}."
            hint = "leave out the images of its first turns"
            raise InvalidRequest(told, param=slots[0].place, hint=hint, retry=False, facts={"max_images": most * TURNS})
        if self._fetcher is None:
            for slot in slots:
                if is_address(slot.source):
                    raise InvalidRequest(
                        "Remote images are disabled: send the image as a data: URI.",
                        param=slot.place,
                        hint=HOW_TO_FETCH,
                        retry=False,
                    )
        return slots

    async def settle(self, slots: Sequence[Slot], sizing: Sizing) -> None:
        """Put each image in its place, ready. The error of the first that cannot be; UnsupportedFeature where nothing
        is there to read them with."""
        if not self._installed:
            raise UnsupportedFeature(
                "Images need the package Pillow, which is not installed here.", hint=REMEDY, param=slots[0].place,
                retry=False,
            )  # fmt: skip
        sizing = self._bounded(sizing)
        tasks = [asyncio.ensure_future(self._settle(slot, sizing, number)) for number, slot in enumerate(slots, 1)]
        try:
            for task in tasks:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _bounded(self, sizing: Sizing) -> Sizing:
        if not self.longest:
            return sizing
        return replace(sizing, longest=min(self.longest, sizing.longest or self.longest))

    async def _settle(self, slot: Slot, sizing: Sizing, number: int) -> None:
        if is_address(slot.source) and self._fetcher is not None:
            async with self._fetching:
                source: object = await self._fetched(self._fetcher, slot)
                await self._read(slot, source, sizing, number)
        else:
            await self._read(slot, slot.source, sizing, number)

    async def _fetched(self, fetcher: Fetches, slot: Slot) -> bytes:
        try:
            return await fetcher.get(slot.source)
        except InvalidRequest as error:
            raise InvalidRequest(error.message, param=slot.place, hint=error.hint, retry=False) from None

    async def _read(self, slot: Slot, source: object, sizing: Sizing, number: int) -> None:
        image = read_source(source, self.limits, slot.place, number)
        payload, base64, most_pixels = image.payload(), image.raw is None, self.limits.most_pixels
        key = key_of(payload, base64=base64, most_pixels=most_pixels, sizing=sizing)
        answer = self._recent.get(key)
        if answer is None:
            answer = await self._workers.read(payload, base64=base64, most_pixels=most_pixels, sizing=sizing)
            if answer.refused:
                raise refused(answer.refused, self.limits, slot.place, number)
            self._recent.put(key, answer)
        slot.fill(_uri(image, answer))

    async def aclose(self) -> None:
        """End the processes and the connections."""
        await self._workers.aclose()
        if self._fetcher is not None:
            await self._fetcher.aclose()


def _uri(image: Encoded, answer: Answer) -> str:
    head = f"data:{answer.mime};base64,"
    if answer.data is not None:
        return head + answer.data.decode("ascii")
    return image.text if image.start == len(head) and image.text.startswith(head) else head + image.text[image.start :]
