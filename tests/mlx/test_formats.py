"""What reads MLX folders without MLX, beside the library that writes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lanhaven.formats.safetensors import read_safetensors

WRITE = """\
import json, sys
import numpy
from safetensors.numpy import save_file
weights = {"x": numpy.arange(6, dtype=numpy.float32).reshape(2, 3), "y": numpy.ones(4, dtype=numpy.float16)}
save_file(weights, sys.argv[1], metadata={"format": "pt"})
print(json.dumps({name: [list(each.shape), each.tobytes().hex()] for name, each in weights.items()}))
"""


def test_a_file_of_the_library_is_read(mlx_python: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    done = subprocess.run([mlx_python, "-c", WRITE, path], capture_output=True, text=True, check=True)
    raw = path.read_bytes()
    found = {
        name: [list(each.shape), raw[each.offset : each.offset + each.size].hex()]
        for name, each in read_safetensors(path).items()
    }
    assert found == json.loads(done.stdout)
