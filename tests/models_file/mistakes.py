"""Files that no models.yaml may be: the reader refuses each with its line, and so do editors where a schema can say it."""

from __future__ import annotations

# Lines of an entry, the line of the file that is wrong, part of what is said.
WRONG_ENTRIES: list[tuple[str, int, str]] = [
    ("provider: b", 2, "models[0] has no id"),
    ("id: a", 2, "models[0] has no provider"),
    ("id:\nprovider: b", 2, "has no id"),
    ("id: [a]\nprovider: b", 2, "models[0].id must be text"),
    ("id: ' a'\nprovider: b", 2, "is not a name"),
    ("id: -rf\nprovider: b", 2, "begins with a dash"),
    ("id: Auto\nprovider: b", 2, "means the active model"),
    ('id: "a\\nb"\nprovider: b', 2, "is not a name"),
    ("id: " + "a" * 201 + "\nprovider: b", 2, "longer than 200"),
    ("id: a\nprovider: a b", 3, "is not a word"),
    ("id: a\nprovider: b\nprovder: c", 4, "models[0].provder is not known"),
    ("id: a\nprovider: b\nenabled: maybe", 4, "neither true nor false"),
    ("id: a\nprovider: b\nttl: soon", 4, "is not a duration"),
    ("id: a\nprovider: b\nload: 5", 4, "must be a mapping"),
    ("id: a\nprovider: b\nload:\n  contextLength: 1000000000", 5, "contextLength must be a whole number"),
    ("id: a\nprovider: b\nload:\n  contextLength: 0", 5, "must be a whole number"),
    ("id: a\nprovider: b\nload:\n  contextLength: 4096.5", 5, "must be a whole number"),
    ("id: a\nprovider: b\nload:\n  contextLength: '4096'", 5, "must be a whole number"),
    ("id: a\nprovider: b\nload:\n  slots: true", 5, "must be a whole number"),
    ("id: a\nprovider: b\nload:\n  gpu: {ratio: 7}", 5, "models[0].load.gpu.ratio must be a number from 0 to 1"),
    ("id: a\nprovider: b\nload:\n  gpu: {layers: -5}", 5, "layers must be a whole number"),
    ("id: a\nprovider: b\nload:\n  cpuThreads: 0", 5, "cpuThreads must be"),
    ("id: a\nprovider: b\nload:\n  ropeFrequencyBase: .nan", 5, "must be a number"),
    ("id: a\nprovider: b\nload:\n  contextlength: 4", 5, "is not known"),
    ("id: a\nprovider: b\nload:\n  contextLength: 4\n  context_length: 5", 6, "said twice, in two spellings"),
    ("id: a\nprovider: b\nload: {gpu: {ratio: 1}, gpuRatio: 0}", 2, "says gpu twice"),
    ("id: a\nprovider: b\nttl: 5\nload: {ttl: 5}", 2, "says its ttl twice"),
    ("id: a\nprovider: b\ndefaults: {temperature: 2.5}", 4, "from 0 to 2"),
    ("id: a\nprovider: b\ndefaults: {temperature: warm}", 4, "temperature must be a number"),
    ("id: a\nprovider: b\ndefaults: {maxTokens: 0}", 4, "maxTokens must be"),
    ("id: a\nprovider: b\naliases: [b, default]", 4, "means the active model"),
    ("id: a\nprovider: b\nconfig: x", 4, "must be a mapping"),
    ("just text", 2, "must be a mapping"),
]
# A whole file, the line, part of what is said.
WRONG_FILES: list[tuple[str, int, str]] = [
    ("models:\n- {id: a, provider: b}\n- {id: a, provider: c}\n", 3, "'a' is listed in line 2 already"),
    ("models: {a: 1}\n", 1, "models must be a list"),
    ("models: x\n", 1, "models must be a list"),
    ("model: []\n", 1, "model is not known"),
    ("max_loaded_models: 0\n", 1, "max_loaded_models must be a whole number from 1"),
    ("default_model: auto\n", 1, "means the active model"),
    ("default_model: a\ndefaultModel: b\n", 2, "said twice"),
    ("models: []\nmodels: []\n", 2, "stands here and in line 1"),
    ("a: &a [x]\nmodels: *a\n", 1, "anchors and aliases"),
    ("models:\n  - id: a\n   provider: b\n", 3, "is not YAML"),
    ("models:\n" + "- {id: a, provider: b}\n" * 5001, 2, "more than 5000"),
]
# What a schema cannot say: it knows no other entry and no other level, and is asked only about what is YAML.
BEYOND_A_SCHEMA = (
    "says gpu twice",
    "says its ttl twice",
    "is listed in line",
    "stands here and in line",
    "anchors and aliases",
    "is not YAML",
    "must be a number from 0",  # .nan, which is text for JSON
)


def in_a_file(lines: str) -> str:
    """A models.yaml with this one entry."""
    return "models:\n  - " + lines.replace("\n", "\n    ") + "\n"
