"""The contracts of both clients."""

from lanhaven.client._async.contract import AsyncSdkContract
from lanhaven.client._sync.contract import SdkContract

__all__ = ["AsyncSdkContract", "SdkContract"]
