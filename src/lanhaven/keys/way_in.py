"""Nobody shuts himself out by mistake: what an admin may not do to keys over the network.

The command line (`lanhaven keys`) works on the file, and may: who is at the machine always comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from math import inf

from lanhaven.errors import ClientError
from lanhaven.keys.key import KeyInfo, KeyScope
from lanhaven.keys.key_file import Keys
from lanhaven.network.addresses import Gate


class OwnKey(ClientError):
    """The key that the request came with would no longer be good for admin where it came from."""

    status = 409
    code = "own_key"


class LastAdminKey(ClientError):
    """No key would be good for admin any more, or none for as long as now."""

    status = 409
    code = "last_admin_key"


@dataclass(frozen=True, slots=True)
class WayIn:
    """Who changes keys: by which key (None: none is needed), from which address.

    leaving: whether he says that his own key may be the one.
    """

    key: KeyInfo | None
    address: str
    leaving: bool = False

    def check(self, before: Keys, after: Keys) -> None:
        """OwnKey, LastAdminKey, if these keys become those. Never for who came in by a link of this machine."""
        if self.key is None or self.key.source == "run":
            return
        if _admin_until(after) < _admin_until(before):
            raise LastAdminKey(
                "No key would be good for admin then, or not for as long as now.",
                hint="make another key with the scope admin first, or use `lanhaven keys` on the server's machine",
            )
        if not self.leaving and not any(self._lets_in(each) for each in after if each.name == self.key.name):
            raise OwnKey(
                f"{self.key.name} is the key that you are signed in with, and would no longer let you in here.",
                hint="use another key with the scope admin, or `lanhaven keys` on the server's machine; "
                "to revoke it all the same: ?force=true",
            )

    def _lets_in(self, key: KeyInfo) -> bool:
        networks = Gate(map(ip_network, key.terms.networks), loopback=False)
        return KeyScope.ADMIN in key.scopes and (not key.terms.networks or networks.admits(self.address))


def _admin_until(keys: Keys) -> float:
    """How long some key is good for admin: seconds since the epoch, without end inf; 0.0 if none is."""
    ends = (inf if key.terms.expires is None else key.terms.expires for key in keys if KeyScope.ADMIN in key.scopes)
    return max(ends, default=0.0)
