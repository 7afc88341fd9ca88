"""`discover`: other servers on this network."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lanhaven.cli import output
from lanhaven.cli.connection import Json
from lanhaven.cli.failure import CliError, Exit

if TYPE_CHECKING:
    from lanhaven.network.mdns import Found

PATIENCE = 2.0  # seconds for an answer of a server that was found
COLUMNS = (
    output.Column("URL", lambda row: row["url"]),
    output.Column("NAME", lambda row: row["name"]),
    output.Column("VERSION", lambda row: row["version"]),
    output.Column("KEY", lambda row: row.get("keyRequired"), lambda row: _key(row)),
    output.Column("MODELS", lambda row: row.get("models"), lambda row: str(row.get("models", "–")), right=True),
)


def discover(
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=60, help="How long to listen for answers, in seconds.")
    ] = 3.0,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", metavar="ADDRESS", help="Ask only from this address of ours.")
    ] = None,
    json: Json = False,
) -> None:
    """Find servers on this network. --url of the other commands takes what it shows."""
    from lanhaven.network.mdns import Unannounced, find

    try:
        found = find(timeout, interface or ())
    except Unannounced as error:
        raise CliError(f"the network cannot be asked: {error}", "lanhaven discover --interface ADDRESS") from None
    with ThreadPoolExecutor(8) as threads:
        records = list(threads.map(described, found))
    if json:
        output.document({"servers": records})
    else:
        output.rows(COLUMNS, records, empty="nobody answered: docs/lan.md#nothing-is-found says why that may be")
    if not records:
        raise typer.Exit(Exit.NOT_FOUND)


def described(found: Found) -> dict[str, Any]:
    """A server as `--json` shows it; its first address that answers is its URL."""
    record: dict[str, Any] = {
        "name": found.name,
        "url": next(iter(found.urls), ""),
        "host": found.host,
        "addresses": list(found.addresses),
        "port": found.port,
        "version": found.version,
        "tls": found.tls,
    }
    return {**record, **_asked(found.urls)}


def _asked(urls: Sequence[str]) -> dict[str, Any]:
    """What the server says to somebody without a key. Nothing secret is sent, so no certificate needs to be known."""
    import httpx2

    with httpx2.Client(verify=False, trust_env=False, timeout=PATIENCE) as http:
        for url in urls:
            try:
                reply = http.get(f"{url}/v1/models")
                body = reply.json()
            except (httpx2.HTTPError, ValueError):
                continue
            if reply.is_success:
                return {"url": url, "reachable": True, "keyRequired": False, "models": len(body.get("data", ()))}
            return {"url": url, "reachable": reply.status_code == 401, "keyRequired": reply.status_code == 401}
    return {"reachable": False}


def _key(row: output.Row) -> str:
    if not row["reachable"]:
        return "does not let us in"
    return "needed" if row["keyRequired"] else "not needed"
