"""The library, of whose functions the worker asks the devices: a CPU and a GPU."""

from __future__ import annotations

from typing import Any

DEVICES = ((b"CPU", b"A processor", 0, 1 << 30), (b"CUDA0", b"A scripted GPU", 1, 24 << 30))


class Function:
    restype: Any = None
    argtypes: Any = None

    def __init__(self, name: str) -> None:
        self._name = name.removeprefix("ggml_backend_dev_")

    def __call__(self, *arguments: Any) -> Any:
        match self._name:
            case "count":
                return len(DEVICES)
            case "get":
                return arguments[0]
            case "memory":
                device, free, total = arguments
                free.value = total.value = DEVICES[device][3]
                return None
            case name:
                return DEVICES[arguments[0]][("name", "description", "type").index(name)]


class Library:
    def __getitem__(self, name: str) -> Function:
        return Function(name)


libggml = Library()
