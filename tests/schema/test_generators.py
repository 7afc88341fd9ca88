"""openapi-generator makes clients of the document, for Python and for TypeScript, and they work (S4-28)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house_process import HouseProcess, environment
from tests.js.node import install, run

GENERATED = Path(__file__).parent / "generated"
TARGETS = {"python": "python", "typescript": "typescript-axios"}
LEFT_OUT = dict.fromkeys(("apiTests", "modelTests", "apiDocs", "modelDocs"), "false")
JAVA = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"}  # it runs for seconds only
SAID = """\
models minilm,old-model,reranker,smollm2
loaded smollm2 loaded
chat hello there 2
embed 8
messages hello there end_turn
responses hello there
ollama hello there
lmstudio hello there
status smollm2
error 404
"""
# The compiler's own strict rules; the form of modules is the one that the generated code is written in.
COMPILER = (
    "--strict",
    "--noUncheckedIndexedAccess",
    "--target",
    "es2022",
    "--lib",
    "es2022,dom",
    "--module",
    "commonjs",
)

pytestmark = [pytest.mark.req("S4-28"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def clients(outside: HouseProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a client for each target; they are made by one run of the generator."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "openapi.json").write_text(json.dumps(outside.get("/openapi.json")))
    for name, target in TARGETS.items():
        config = {
            "inputSpec": str(folder / "openapi.json"),
            "generatorName": target,
            "outputDir": str(folder / name),
            "globalProperties": LEFT_OUT,
            "additionalProperties": {"packageName": "lanhaven_generated"},
        }
        (folder / f"{name}.json").write_text(json.dumps(config))
    generator = Path(sys.executable).parent / "openapi-generator-cli"
    words = [str(generator), "batch", "--fail-fast", *(str(folder / f"{name}.json") for name in TARGETS)]
    done = subprocess.run(
        words, cwd=folder, env=environment(folder, **JAVA), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stdout + done.stderr
    return folder


def test_the_python_client_works(clients: Path, outside: HouseProcess) -> None:
    package = clients / "python"
    names = [path.stem for path in (package / "lanhaven_generated/models").glob("*.py")]
    assert len(names) > 100
    done = subprocess.run(
        [sys.executable, "-W", "error", str(GENERATED / "usage.py"), outside.url],
        capture_output=True, text=True, timeout=50, check=False,
        env=environment(clients, PYTHONPATH=str(package), PYTHONDONTWRITEBYTECODE="1"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == SAID


def test_the_typescript_client_works(clients: Path, outside: HouseProcess) -> None:
    install(GENERATED)
    package = clients / "typescript"
    (package / "node_modules").symlink_to(GENERATED / "node_modules")
    (package / "usage.ts").write_text((GENERATED / "usage.ts").read_text())
    run("node_modules/typescript/bin/tsc", *COMPILER, "--outDir", "built", "usage.ts", cwd=package)
    assert run("built/usage.js", outside.url, cwd=package) == SAID
