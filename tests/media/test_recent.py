"""Images of earlier turns are not read again."""

from __future__ import annotations

import pytest

from lanhaven.errors import ServerShutdown
from lanhaven.media.images import Images
from lanhaven.media.recent import ENTRY_BYTES, Recent, key_of
from lanhaven.media.sources import Limits
from lanhaven.media.workers import Answer, Workers
from lanhaven.server.images import WORKER
from lanhaven.types.images import Sizing
from tests.media.conftest import plan_of
from tests.media.pictures import data_uri, picture
from tests.media.test_images import settled

pytestmark = pytest.mark.anyio


async def test_an_image_is_read_once_for_each_size() -> None:
    workers = Workers(plan_of(WORKER))
    images = Images(workers, limits=Limits(), longest=0, fetcher=None, installed=True)
    first, second = data_uri(picture("WEBP"), "image/webp"), picture("BMP")
    before = await settled(images, first, second)
    await workers.aclose()  # nothing can be read from now on
    assert await settled(images, second, first, first) == [before[1], before[0], before[0]]
    for unread in ((data_uri(picture("GIF"), "image/gif"), Sizing()), (first, Sizing(longest=3))):
        with pytest.raises(ServerShutdown):
            await settled(images, unread[0], sizing=unread[1])


def test_what_was_wanted_longest_ago_goes_first() -> None:
    recent = Recent(most_bytes=3 * (ENTRY_BYTES + 100))
    answer = Answer("", "image/png", 1, 1, b"x" * 100)
    keys = [bytes([number]) * 32 for number in range(4)]
    for key in keys[:3]:
        recent.put(key, answer)
    assert recent.get(keys[0]) is answer
    recent.put(keys[3], answer)
    assert [recent.get(key) is answer for key in keys] == [True, False, True, True]
    recent.put(b"large", Answer("", "image/png", 1, 1, b"x" * 10_000))
    assert recent.get(b"large") is None
    assert repr(recent) == f"Recent(3 images, {3 * (ENTRY_BYTES + 100)} bytes)"


def test_a_key_tells_apart_what_is_read_in_another_way() -> None:
    ways = [
        key_of(payload, base64=base64, most_pixels=most, sizing=sizing)
        for payload in (b"abcd", b"abce")
        for base64 in (True, False)
        for most in (10, 100)
        for sizing in (Sizing(), Sizing(quality=80))
    ]
    assert len(set(ways)) == len(ways)
