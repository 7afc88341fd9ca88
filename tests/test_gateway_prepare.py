"""What of a request reaches which upstream."""

from __future__ import annotations

import json

from lanhaven.types.chat import InferenceRequest, Route
from lanhaven.types.models import Sampling, Upstream
from lanhaven.upstream.preparing import prepare


def sent(upstream: Upstream) -> object:
    request = InferenceRequest(
        Route.CHAT, {"messages": []}, "r", "/x", extras={"verbose": True, "return_progress": True}
    )
    return json.loads(prepare(request, Sampling(), upstream))


def test_fields_beyond_openai_reach_those_that_know_them() -> None:
    assert sent(Upstream(model="m", extras=frozenset({"verbose"}))) == {"messages": [], "verbose": True, "model": "m"}


def test_fields_beyond_openai_reach_nobody_else() -> None:
    assert sent(Upstream(model="m")) == {"messages": [], "model": "m"}
