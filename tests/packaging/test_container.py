"""The container files. No daemon of Docker is at hand: what the image would hold is made by the Dockerfile's own lines in a
folder, and started by its own words.

compose-spec.json is the schema that the compose specification publishes (Apache-2.0, commit 170098b).
"""

from __future__ import annotations

import ensurepip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from lanhaven.config import Settings, load_settings
from tests.house_process import sockets_folder, until, wait_ready
from tests.packaging.dockerfile import Stage, stages
from tests.packaging.tools import build_packages

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "packaging"
pytestmark = pytest.mark.timeout(240)  # where the build tools are not there yet, another set-up may be under way
PACKAGES = Path(pytest.__file__).parents[1]
PIP = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))  # runs as it is
KEY = "a-key-of-16-letters-or-more"
PAGE, FIRST, IMAGE = stages(FOLDER / "Dockerfile")
BUILT = ROOT / "src/lanhaven/server/ui"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """/ of the build stage after its steps, but for what comes over the network: the packages are this environment's,
    by the same lock."""
    root = tmp_path_factory.mktemp("image")
    (root / "src").mkdir()
    for word, rest in FIRST.steps:
        if word == "COPY":
            *sources, target = rest.split()
            if sources[0] == "--from=page":
                _page(root / "src" / target)
                continue
            for source in sources:
                name = source if target == "./" else Path(source).name if target.endswith("/") else ""
                _copy(ROOT / source, root / "src" / target / name)
        elif word == "RUN" and "--require-hashes" not in rest:
            _run(rest, root)
            for environment in root.glob("opt/*/bin/.."):
                _borrow(environment, PIP, "pip")
        elif word == "RUN" and "requirements-build" in rest:
            _borrow(root / "opt/build", build_packages())
    _borrow(root / "opt/lanhaven", PACKAGES)
    return root


def _page(target: Path) -> None:
    """What the first stage would have made: the checkout's, or one like it."""
    if BUILT.is_dir():
        _copy(BUILT, target)
    target.mkdir(exist_ok=True)
    if not (target / "index.html").exists():
        (target / "index.html").write_text("<!doctype html>")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def _run(line: str, root: Path) -> None:
    """A RUN line, with /opt and /src in the folder. An environment gets no pip of its own: unpacking one takes seconds."""
    here = re.sub(r"(?<=[ =])/(?=opt/)|^/(?=opt/)", f"{root}/", line).replace(
        "python -m venv", f"{sys.executable} -m venv --without-pip"
    )
    words = ["sh", "-euc", here]
    done = subprocess.run(words, cwd=root / "src", capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def _borrow(environment: Path, packages: Path, name: str = "borrowed") -> None:
    place = next(environment.glob("lib/python*/site-packages"))
    (place / f"{name}.pth").write_text(f"{packages}\n")


def environment(root: Path, run_dir: Path) -> dict[str, str]:
    """That of the image, with its folders in the folder; a port that is free, and this machine alone."""
    found = {name: value.replace("/data", f"{root}/data") for name, value in IMAGE.environment.items()}
    found["PATH"] = f"{root}{found['PATH']}"
    return {**found, "LANHAVEN_RUN_DIR": str(run_dir), "LANHAVEN_CACHE_DIR": f"{root}/cache", "LANHAVEN_PORT": "0"}


def words(root: Path, *command: str) -> list[str]:
    (program,) = IMAGE.exec_form("ENTRYPOINT")
    return [f"{root}/opt/lanhaven/bin/{program}", *command]


@pytest.fixture
def sockets() -> Iterator[Path]:
    with sockets_folder() as folder:
        yield folder


@pytest.mark.req("S0-x16")
def test_it_serves_is_healthy_and_ends_on_sigterm(root: Path, sockets: Path) -> None:
    """Scripted models, on loopback; all else as in the image."""
    variables = environment(root, sockets) | {"LANHAVEN_API_KEY": KEY, "LANHAVEN_MOCK": "true"}
    command = [each.replace("0.0.0.0", "127.0.0.1") for each in IMAGE.exec_form("CMD")]
    (root / "data").mkdir(exist_ok=True)
    log = root / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(words(root, *command), env=variables, cwd=root / "data", stdout=file, stderr=file)
    try:
        wait_ready(process, root / "data/state/server.json", log)
        _, *check = IMAGE.healthcheck
        healthy = subprocess.run(
            words(root, *check), env=variables, capture_output=True, text=True, timeout=30, check=False
        )
        assert healthy.returncode == 0, healthy.stderr
        assert KEY not in log.read_text() + healthy.stdout
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    dead = subprocess.run(words(root, *check), env=variables, capture_output=True, timeout=30, check=False)
    assert dead.returncode != 0
    until(lambda: not list(sockets.iterdir()), "sockets are gone")


@pytest.mark.req("S0-x16", "F-148")
def test_without_a_key_it_refuses_to_start(root: Path, sockets: Path) -> None:
    variables = environment(root, sockets) | {"LANHAVEN_MOCK": "true"}
    command = words(root, *IMAGE.exec_form("CMD"))
    done = subprocess.run(command, env=variables, cwd=root, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78, done.stderr
    assert "there is no key" in done.stderr


def test_the_wheel_holds_all_that_the_checkout_has(root: Path) -> None:
    (wheel,) = (root / "opt/wheel").glob("*.whl")
    installed = next((root / "opt/lanhaven").glob("lib/python*/site-packages/lanhaven"))
    ours = {
        each.relative_to(root / "src/src/lanhaven") for each in (root / "src/src/lanhaven").rglob("*") if each.is_file()
    }
    theirs = {each.relative_to(installed) for each in installed.rglob("*") if each.is_file()}
    assert ours <= theirs, wheel.name


def test_nobody_is_root_and_no_key_is_in_it() -> None:
    (user,) = IMAGE.of("USER")
    assert int(user) > 1000
    variables = {name for stage in (FIRST, IMAGE) for name in stage.environment}
    assert not [name for name in variables if re.search(r"KEY|TOKEN|SECRET|PASS", name)]
    assert not FIRST.environment | PAGE.environment


def test_its_variables_are_settings_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """load_settings refuses those that it does not know."""
    for name, value in IMAGE.environment.items():
        if name.startswith("LANHAVEN_"):
            assert name.removeprefix("LANHAVEN_").lower() in Settings.model_fields
            monkeypatch.setenv(name, value)
    settings = load_settings({"config_dir": tmp_path})
    (volume, models) = IMAGE.exec_form("VOLUME")
    assert (volume, models) == ("/data", "/models")
    assert str(settings.state_dir).startswith(volume)
    assert str(settings.data_dir).startswith(volume)
    assert IMAGE.of("EXPOSE") == [str(settings.port)]


def test_what_is_copied_is_there_and_let_in() -> None:
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for rest in [*PAGE.of("COPY"), *FIRST.of("COPY")]:
        *sources, _ = rest.split()
        if sources[0] == "--from=page":
            continue
        assert all((ROOT / source).exists() and source in let_in for source in sources)
    secrets = (".env", "models.yaml", "config.yaml", "keys.json", "keys.sqlite3", ".git", "data.db")
    assert not [name for name in secrets if any(fnmatch(name, pattern) for pattern in let_in)]


def test_every_package_is_held_by_its_hash_and_is_the_tested_one() -> None:
    installs = [rest for rest in FIRST.of("RUN") if "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-index" in rest for rest in installs)
    pin = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
    served, tested = (dict(pin.findall((ROOT / f"requirements{each}.lock").read_text())) for each in ("", "-dev"))
    assert served.items() <= tested.items()
    assert "xllamacpp" in served


def test_the_page_is_built_from_its_lock_and_taken_over() -> None:
    (build,) = PAGE.of("RUN")
    assert build.startswith("npm ci --ignore-scripts")
    assert f"--outDir {FIRST.of('COPY')[-1].split()[1]} " in build
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"**/node_modules", "src/lanhaven/server/ui"} <= set(ignored)


def test_both_stages_are_of_one_slim_python() -> None:
    assert {stage.image for stage in (FIRST, IMAGE)} == {"python:3.11-slim"}
    assert f"COPY --from={FIRST.name}" in (FOLDER / "Dockerfile").read_text()


# compose


@pytest.fixture(scope="module")
def compose() -> dict[str, object]:
    found: dict[str, object] = YAML(typ="safe").load(FOLDER / "docker-compose.yaml")
    return found


@pytest.mark.req("S0-x16")
def test_compose_is_of_the_published_form(compose: dict[str, object]) -> None:
    schema = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(compose)] == []


def test_compose_fits_the_image(compose: dict[str, object]) -> None:
    service = YAML(typ="safe").load(FOLDER / "docker-compose.yaml")["services"]["lanhaven"]
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    assert service["ports"] == [f"{port}:{port}" for port in IMAGE.of("EXPOSE")]
    assert [each.split(":")[1] for each in service["volumes"][:1]] == ["/data"]
    assert service["environment"]["LANHAVEN_API_KEY"].startswith("${LANHAVEN_API_KEY:?"), (
        "it must be given, and not stand here"
    )
    drain = Settings.model_fields["drain_timeout"].default
    assert int(service["stop_grace_period"].removesuffix("s")) > drain
    assert "/tmp" in service["tmpfs"], "the root is read only"
    assert all(str(value).startswith(("/data", "/tmp")) for name, value in _folders(IMAGE) if name != "PATH")


def _folders(stage: Stage) -> list[tuple[str, str]]:
    return [(name, value) for name, value in stage.environment.items() if value.startswith("/")]


@pytest.mark.parametrize("line", ["RUN x", "FROM a\nADD b c", "FROM a\n run x"])
def test_what_is_no_dockerfile(tmp_path: Path, line: str) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(line)
    with pytest.raises(ValueError, match="what is"):
        stages(path)
