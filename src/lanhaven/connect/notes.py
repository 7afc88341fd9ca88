"""What is in the way of several apps."""

from __future__ import annotations

from collections.abc import Sequence

from lanhaven.connect.recipe import Place


def elsewhere(place: Place) -> Sequence[str]:
    """For apps that mostly run in a container or on another machine."""
    if "://127.0.0.1" not in place.url and "://localhost" not in place.url:
        return ()
    told = "In a container or on another machine 127.0.0.1 is that one itself"
    return (f"{told}: serve with lanhaven up --lan, and use the address that it shows.",)
