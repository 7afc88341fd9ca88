"""What every provider promises, as tests: for the providers of LanHaven and for those of other packages.

    from lanhaven.testing.provider_suite import ProviderSuite, Rig

    class TestMine(ProviderSuite):
        @pytest.fixture(scope="class")
        def rig(self) -> Rig:
            return Rig(create=create, entry=ModelEntry("m", "mine", config={...}), broken=ModelEntry("b", "mine"))

Real sockets, real processes. It needs pytest (`pip install 'lanhaven[testing]'`). docs/new-provider.md has a whole one.
"""

from __future__ import annotations

import pytest

# Before they are imported: a failed assert then shows the values, as in test modules.
pytest.register_assert_rewrite("lanhaven.testing.provider_suite.case", "lanhaven.testing.provider_suite.suite")

from lanhaven.testing.provider_suite.rig import Lack, Rig  # noqa: E402
from lanhaven.testing.provider_suite.suite import ProviderSuite  # noqa: E402

__all__ = ["Lack", "ProviderSuite", "Rig"]
