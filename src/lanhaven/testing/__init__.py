"""For tests of programs that talk to LM Studio, or to LanHaven: a server with scripted models. docs/mock-lmstudio.md.

    with MockLMStudio("qwen3-4b") as studio:
        studio.reply("Hello there.")
        client = lmstudio.Client(studio.host)

Nothing heavy is imported before a server starts.
"""

from __future__ import annotations

from lanhaven.engines.scripted_faults import Act, Fault
from lanhaven.testing.asked import Asked
from lanhaven.testing.lmstudio import MockLMStudio
from lanhaven.testing.models import MockModel

__all__ = ["Act", "Asked", "Fault", "MockLMStudio", "MockModel"]
