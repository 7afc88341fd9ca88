"""`reload`: the server reads models.yaml again, now."""

from __future__ import annotations

from lanhaven.cli import output
from lanhaven.cli.connection import Json, Key, Url, connect
from lanhaven.cli.output import Column

COLUMNS = (Column("CHANGE", lambda r: r["change"]), Column("MODEL", lambda r: r["model"]))


def reload(url: Url = None, key: Key = None, json: Json = False) -> None:
    """Let the server read models.yaml again, and look at all models anew. It sees changes of the file by itself."""
    with connect(url, key) as server:
        answer = server.post("/admin/models/refresh", {})
    if json:
        output.document(answer)
        return
    rows = [{"change": change, "model": name} for change in ("added", "changed", "removed") for name in answer[change]]
    output.rows(COLUMNS, rows, empty=f"nothing has changed: {answer['models']} models")
    for problem in answer["problems"]:
        output.note(problem)
