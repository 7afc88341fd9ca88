"""Every code block of README.md and docs/ is run, most of them here; those that are not are listed with their reasons.

Shell and console blocks run against a real server with real models, started as a user starts it; Python blocks as
programs, JavaScript blocks as modules; YAML blocks are read by what reads them. Documents that leave nothing behind
share a server and a home: tests/docs/homes.py.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lanhaven.errors import InvalidRequest
from tests.docs.blocks import ROOT, Block, all_blocks, blocks_in
from tests.docs.homes import SEEING, Homes
from tests.docs.house import Home
from tests.docs.shell import NEVER, Kind, commands, kind
from tests.docs.yaml_blocks import check_yaml

BLOCKS = all_blocks()
RUN = [block for block in BLOCKS if block.reason is None and block.elsewhere is None]
PROGRAMS = ("bash", "curl", "jq", "node", "npm")

FIND = "it asks the whole network; tests/network asks loopback"
UNIT = "it starts a service of this user; tests/cli/test_service.py holds the unit against systemd's own check"

# Blocks that no test runs: document -> reasons. A new one is added here on purpose or not at all.
NOT_RUN: dict[str, list[str]] = {
    "docs/cli.md": ["how a failure looks; it needs a model of 24 GB", FIND, UNIT, "it starts Claude Code"],
    "docs/clients.md": [
        "it wants the command of Cline",
        "it needs npm's openai, which was tried by hand",
        "it needs LlamaIndex; tests/clients replays what it sends",
    ],
    "docs/dashboard.md": ["it needs a second machine"],
    "docs/install.md": [
        "it needs a Docker daemon; tests/packaging runs the Dockerfile's lines without one",
        "it needs a Docker daemon; tests/packaging holds the file against the published schema",
    ],
    "docs/lan.md": [FIND, UNIT],
    "docs/mlx.md": [
        "tests/mlx installs it from a lock file",
        "tests/mlx installs the same from a lock file",
        "as above",
    ],
    "docs/providers.md": ["vLLM needs a GPU"],
    "docs/security.md": ["a piece of the configuration of nginx"],
}

LIVE = [block for block in RUN if block.language in ("sh", "console", "python", "javascript")]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, minilm: Path) -> Iterator[Homes]:
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"THE CODE BLOCKS OF THE DOCUMENTATION ARE NOT TESTED: {', '.join(missing)} not installed")
    homes = Homes(tmp_path_factory.mktemp("d"), {"smollm2": smollm2, "minilm": minilm})
    try:
        yield homes
    finally:
        homes.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("block", LIVE, ids=str)
def test_blocks_do_what_they_say(homes: Homes, block: Block) -> None:
    home = homes.of(block.document)
    home.shell(block.before)
    match block.language:
        case "sh":
            home.shell(block.text)
        case "console":
            home.shell("".join(line[2:] for line in block.text.splitlines(keepends=True) if line.startswith("$ ")))
        case "javascript":
            written = home.javascript(block.text)
            assert written.strip() or "console.log(" not in block.text
        case _:
            written = home.python(block.text)
            assert written.strip() or "print(" not in block.text


@pytest.mark.parametrize("block", [each for each in RUN if each.language in ("yaml", "json", "toml")], ids=str)
def test_files_that_are_shown_are_taken(block: Block, tmp_path: Path, smollm2: Path) -> None:
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        check_yaml(block.text, Home(tmp_path, {"smollm2": smollm2}, seeing=block.document in SEEING).furnish().path)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    known = {"sh", "console", "python", "javascript", "yaml", "json", "toml", "text"}
    assert [str(block) for block in RUN if block.language not in known] == []


def test_no_command_hides_in_a_block_of_text() -> None:
    starts = ("lanhaven ", "./lanhaven", "curl ", "$ ", "pip ", "import ")
    texts = [block for block in RUN if block.language == "text"]
    assert [str(block) for block in texts if any(line.startswith(starts) for line in block.text.splitlines())] == []


def test_what_is_not_run_is_known() -> None:
    found: dict[str, list[str]] = {}
    for block in BLOCKS:
        if block.reason is not None:
            found.setdefault(block.document, []).append(block.reason)
    assert found == NOT_RUN


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.elsewhere is not None], ids=str)
def test_what_another_test_runs_is_run_there(block: Block) -> None:
    """`run by` names a file of tests, or a document whose blocks have the same commands."""
    assert block.elsewhere is not None
    if block.elsewhere.endswith(".py"):
        assert (ROOT / block.elsewhere).is_file()
        return
    there = [each for other in RUN if other.document == block.elsewhere for each in commands(other.text)]
    assert {bare(each) for each in commands(block.text)} <= {bare(each) for each in there}


def bare(command: str) -> str:
    return command.partition("#")[0].strip()


def test_the_commands_that_are_not_run_stand_in_the_readme_only() -> None:
    shell = [block for block in RUN if block.language in ("sh", "console")]
    left_out = [(block.document, each) for block in shell for each in commands(block.text) if kind(each) is Kind.NEVER]
    assert [document for document, _ in left_out] == ["README.md"] * len(NEVER)


# The runner itself


SAMPLE = """\
```sh
lanhaven ps     # a comment
curl http://127.0.0.1:8002/x -d '{
  "a": 1
}'
```

<!-- not run: it needs
a second machine -->
<!-- before: lanhaven ls -->
```yaml
a: 1
```
"""


def test_blocks_are_found_with_their_place_and_reason() -> None:
    shell, yaml = blocks_in(SAMPLE, "x.md")
    assert (str(shell), shell.reason) == ("x.md:1 sh", None)
    assert (str(yaml), yaml.reason, yaml.before) == ("x.md:11 yaml", "it needs a second machine", "lanhaven ls")
    assert [each.splitlines()[0] for each in commands(shell.text)] == [
        "lanhaven ps     # a comment",
        "curl http://127.0.0.1:8002/x -d '{",
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("lanhaven ls | cut -f1", Kind.PLAIN),
        ("id=$(lanhaven load smollm2)", Kind.PLAIN),
        ("lanhaven up --lan", Kind.STARTING),
        ("lanhaven watch --json | jq .", Kind.LASTING),
        ("lanhaven ps --watch", Kind.LASTING),
        ("lanhaven logs smollm2 -f", Kind.LASTING),
        ("lanhaven logs -n 7", Kind.PLAIN),
        ("lanhaven ps", Kind.PLAIN),
        ("curl -N http://x/debug/stream", Kind.LASTING),
        ("curl http://x/a-N", Kind.PLAIN),
        ('lanhaven chat smollm2 -s "Be brief."', Kind.TALK),
        ("lanhaven chat     # a talk", Kind.TALK),
        ('lanhaven chat "Why is it so?"', Kind.PLAIN),
        ("lanhaven chat smollm2 why", Kind.PLAIN),
        ("lanhaven chat -p why", Kind.PLAIN),
        ('cat x | lanhaven chat smollm2 "sum up"', Kind.PLAIN),
        ("scripts/test        # all", Kind.NEVER),
    ],
)
def test_kinds_of_commands(command: str, expected: Kind) -> None:
    assert kind(command) is expected


def test_a_block_that_ends_within_a_command_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="ends within"):
        commands("echo 'x\n")


@pytest.mark.parametrize("text", ["models:\n  - {id: a, provider: mock, config: {nonsense: 1}}\n", "prot: 1\n"])
def test_yaml_that_nothing_takes_is_a_mistake(text: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, InvalidRequest), match=r"nonsense|neither"):
        check_yaml(text, tmp_path)
