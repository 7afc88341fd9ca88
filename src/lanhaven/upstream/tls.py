"""The TLS settings of https upstreams."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Certificates are verified against `ca_file` if given, else against the system's store.

    Not `ssl.create_default_context`: it lets SSL_CERT_FILE in the environment replace the store (F-048).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
        return context
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if sys.platform == "win32" or not (file.is_file() or folder.is_dir()):
        context.load_default_certs()
    else:
        context.load_verify_locations(
            cafile=file if file.is_file() else None, capath=folder if folder.is_dir() else None
        )
    return context
