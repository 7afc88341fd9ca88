"""Headers that were read already: scanning a folder again costs a stat per file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from lanhaven.formats.gguf import GGUFHeader, read_header


class HeaderCache:
    """Keeps the newest `capacity` headers by path, size and mtime. Safe in threads; what is wrong is not kept."""

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._headers: OrderedDict[tuple[Path, int, int], GGUFHeader] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._headers)

    def read(self, path: Path) -> GGUFHeader:
        """Like `read_header`, from memory if the file is the same."""
        try:
            status = path.stat()
        except (OSError, ValueError):
            return read_header(path)  # says what is wrong
        key = (path, status.st_size, status.st_mtime_ns)
        with self._lock:
            if key in self._headers:
                self._headers.move_to_end(key)
                return self._headers[key]
        header = read_header(path)
        with self._lock:
            self._headers[(path, header.file_size, header.mtime_ns)] = header
            while len(self._headers) > self._capacity:
                self._headers.popitem(last=False)
        return header
