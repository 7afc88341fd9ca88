"""Image files as a request carries them."""

from __future__ import annotations

import mimetypes
from base64 import b64encode
from pathlib import Path

from lanhaven.cli.failure import CliError, Exit


def data_uri(path: Path) -> str:
    """The file in a data URI. Whether it is an image the server tells from its bytes. CliError if it cannot be read."""
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror}", "--image with a file: photo.jpg", status=Exit.USAGE
        ) from None
    named, _ = mimetypes.guess_type(path.name)
    kind = named if named is not None and named.startswith("image/") else "application/octet-stream"
    return f"data:{kind};base64,{b64encode(content).decode()}"
