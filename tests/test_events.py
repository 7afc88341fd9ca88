"""The bus: who hears of what."""

from __future__ import annotations

from lanhaven.events import EventBus, GatewayEvent, ModelActivate, ModelUnloadStart
from lanhaven.types.models import Sampling


def test_a_listener_hears_of_the_kinds_that_it_names_and_without_any_of_all() -> None:
    bus, every, some = EventBus(), list[GatewayEvent](), list[GatewayEvent]()
    activated = ModelActivate(model_key="alpha", instance_id=None, sampling=Sampling())
    unloading = ModelUnloadStart(model_key="alpha", instance_id="alpha", reason="idle")
    bus.listen(every.append)
    bus.emit(activated)
    bus.listen(some.append, ModelUnloadStart)
    bus.emit(activated)
    bus.emit(unloading)
    assert (every, some) == ([activated, activated, unloading], [unloading])

    bus.unlisten(some.append)
    bus.emit(unloading)
    assert (len(every), len(some)) == (4, 1)
