"""`add`, `set`, `rm`: entries of models.yaml."""

from __future__ import annotations

import pytest

from lanhaven.models_file import read
from lanhaven.providers.base import ModelEntry
from lanhaven.types.models import LoadConfig, Sampling
from tests.cli.scripted import Cli
from tests.cli.test_failures import tries

FILE = """\
# ours
models:
  - id: small   # quick
    provider: mock
"""


@pytest.fixture
def cli(alone: Cli) -> Cli:
    (alone.home / "models.yaml").write_text(FILE)
    return alone


def entries(cli: Cli) -> dict[str, ModelEntry]:
    return {each.id: each for each in read(cli.home / "models.yaml").entries}


@pytest.mark.req("S4-13")
def test_a_model_is_added_changed_and_removed_and_comments_stay(cli: Cli) -> None:
    done = cli("add", "big", "--provider", "openai", "config.base_url=http://nas.lan:8000", "ttl=30m", "--default")
    assert (done.status, done.out) == (0, "")
    assert "big added in" in done.err
    big = entries(cli)["big"]
    assert (big.provider, big.config, big.load.idle_ttl) == ("openai", {"base_url": "http://nas.lan:8000"}, 1800.0)
    assert cli("set", "small", "temperature=0.2", "contextLength=2048", "aliases=a,b", "pinned=true").status == 0
    small = entries(cli)["small"]
    assert (small.sampling, small.load) == (Sampling(temperature=0.2), LoadConfig(context_length=2048))
    assert (small.aliases, small.pinned) == (("a", "b"), True)
    assert cli("set", "small", "temperature=", "aliases=", "enabled=false", "--json").json["status"] == "changed"
    assert (entries(cli)["small"].sampling, entries(cli)["small"].enabled) == (Sampling(), False)
    assert cli("rm", "big").status == 0
    text = (cli.home / "models.yaml").read_text()
    assert text.startswith("# ours\nmodels:\n  - id: small   # quick\n")
    assert "default_model" not in text


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (("add", "small", "--provider", "mock"), 2, "has 'small' already"),
        (("add", "auto", "--provider", "mock"), 2, "means the active model"),
        (("set", "small", "temperature=hot"), 2, "temperature must be a number"),
        (("set", "small", "tempo=1"), 2, "tempo is no field"),
        (("set", "nobody", "ttl=1"), 5, "has no model 'nobody'"),
        (("rm", "nobody"), 5, "has no model 'nobody'"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(
    cli: Cli, words: tuple[str, ...], status: int, part: str
) -> None:
    done = cli(*words)
    assert done.status == status
    assert part in done.err
    assert tries(done)
    assert (cli.home / "models.yaml").read_text() == FILE


def test_2_a_provider_that_there_is_not(cli: Cli) -> None:
    for words in (("add", "big", "--provider", "vllm"), ("set", "small", "provider=vllm")):
        done = cli(*words)
        assert done.status == 2
        assert "there is no provider 'vllm'; there are llama_cpp, mlx, command, openai" in done.err
        assert tries(done)
    assert (cli.home / "models.yaml").read_text() == FILE
