"""scripts/page: built when the sources changed, never a reason not to serve, and in CI a failure. npm is a stand-in."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = (
    "sh",
    "awk",
    "cat",
    "cksum",
    "date",
    "dirname",
    "find",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sleep",
    "sort",
    "tail",
    "touch",
)
FAKE_NODE = '#!/bin/sh\necho "${NODE_IS:-22.1.0}"\n'
FAKE_NPM = r"""#!/bin/sh
echo "$*" >>"$NPM_CALLS"
[ -z "${NPM_FAILS:-}" ] || { echo "npm says no" >&2; exit 1; }
case "$*" in
    ci\ *) mkdir -p node_modules && touch node_modules/.package-lock.json ;;
    *) for word; do [ "${before:-}" != --outDir ] || folder=$word; before=$word; done
       mkdir -p "$folder" && echo page >"$folder/index.html" ;;
esac
"""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the script with a small ui/."""

    root: Path
    bin: Path

    def run(self, *flags: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.root), "NPM_CALLS": str(self.root / "calls"), **extra}
        return subprocess.run(
            ["scripts/page", *flags], cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=30
        )  # fmt: skip

    def build(self, *flags: str, **extra: str) -> str:
        """What it says; it must not fail."""
        done = self.run(*flags, **extra)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr

    def calls(self) -> list[str]:
        """The steps of npm since the last look."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return ["ci" if line.startswith("ci ") else "build" for line in lines]

    @property
    def page(self) -> Path:
        return self.root / "src/lanhaven/server/ui/index.html"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root, programs = tmp_path / "a checkout", tmp_path / "bin"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    (root / "src/lanhaven/server").mkdir(parents=True)
    (root / "ui/src").mkdir(parents=True)
    (root / "ui/package-lock.json").write_text("{}")
    (root / "ui/src/main.ts").write_text("1")
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    made = Checkout(root, programs)
    made.program("node", FAKE_NODE)
    made.program("npm", FAKE_NPM)
    return made


def test_it_builds_once_and_again_when_the_sources_change(checkout: Checkout) -> None:
    assert "the dashboard" in checkout.build()
    assert checkout.page.read_text() == "page\n"
    assert checkout.calls() == ["ci", "build"]
    assert "nothing to do" in checkout.build()
    assert checkout.build("--quiet") == ""
    (checkout.root / "ui/src/main.ts").write_text("2")
    checkout.build()
    assert checkout.calls() == ["build"]
    checkout.page.unlink()
    checkout.build()
    assert checkout.calls() == ["build"]


def test_what_is_installed_is_no_source(checkout: Checkout) -> None:
    checkout.build()
    (checkout.root / "ui/node_modules/more.js").write_text("x")
    assert "nothing to do" in checkout.build()


@pytest.mark.parametrize("lacks", ["npm", "node"])
def test_without_node_it_says_so_once_and_is_no_failure(checkout: Checkout, lacks: str) -> None:
    (checkout.bin / lacks).unlink()
    said = checkout.build("--quiet")
    assert "the dashboard is missing, everything else works: it needs Node.js and npm" in said
    assert checkout.build("--quiet") == ""
    assert "is missing" in checkout.build()  # asked for by name
    failed = checkout.run("--quiet", CI="1")
    assert failed.returncode == 1
    assert "error: the dashboard is not built" in failed.stderr


def test_an_old_node_is_named(checkout: Checkout) -> None:
    assert "20.19 or newer, and this is 18.19.0" in checkout.build(NODE_IS="18.19.0")
    assert "20.19 or newer" in checkout.build(NODE_IS="20.18.3")
    assert checkout.calls() == []
    checkout.build(NODE_IS="20.19.0")
    assert checkout.page.exists()


def test_a_failed_build_leaves_the_page_that_was_there(checkout: Checkout) -> None:
    checkout.build()
    (checkout.root / "ui/src/main.ts").write_text("broken")
    said = checkout.build("--quiet", NPM_FAILS="1")
    assert "npm says no" in said
    assert "the dashboard is an older one" in said
    assert checkout.page.exists()
    assert checkout.build("--quiet") == ""  # not every command tries again
    assert checkout.run(NPM_FAILS="1", CI="1").returncode == 1
    checkout.build()
    assert checkout.build("--quiet") == ""


def test_two_at_once_build_once(checkout: Checkout) -> None:
    environment = {"PATH": str(checkout.bin), "HOME": str(checkout.root), "NPM_CALLS": str(checkout.root / "calls")}
    both = [
        subprocess.Popen(["scripts/page"], cwd=checkout.root, env=environment, stderr=subprocess.PIPE) for _ in range(2)
    ]
    assert [each.wait(30) for each in both if each.communicate()] == [0, 0]
    assert checkout.calls() == ["ci", "build"]


def test_where_there_are_no_sources_there_is_nothing_to_say(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / "ui")
    assert checkout.build() == ""
