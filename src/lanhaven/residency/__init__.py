"""Residency: what is loaded, who uses it, and what makes room for what.

`policy` decides and is pure; `pool` acts. Everything else here is a part of the pool, one concept a file.
"""

from lanhaven.residency.lease import Lease
from lanhaven.residency.pool import Pool
from lanhaven.residency.result import LoadResult
from lanhaven.residency.settings import PoolSettings

__all__ = ["Lease", "LoadResult", "Pool", "PoolSettings"]
