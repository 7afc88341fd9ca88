"""Settings: every knob of the server, frozen. Building one reads nothing; `sources.load_settings` does the reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from lanhaven.config import addresses, places
from lanhaven.config.environ import SECRET_MARKS, environment
from lanhaven.config.units import DURATION_SHAPE, SIZE_SHAPE, duration, size

MASK = "********"
API_PORTS = {"openai": 8080, "ollama": 11434, "both": 8080}
LOG_LEVEL_NAMES = {"warn": "warning", "fatal": "critical", "trace": "debug", "verbose": "debug"}


def _words(value: object) -> object:
    """A comma list as environment variables hold it; lists pass. Empty text is the empty list."""
    if not isinstance(value, str):
        return value
    return tuple(word.strip() for word in value.split(",")) if value.strip() else ()


def _options(value: object) -> object:
    """Nested options; in an environment variable they are JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('is not JSON: write {"lmstudio": {"timeout": 5}}') from None


_SOME_SECONDS = WithJsonSchema({**DURATION_SHAPE, "exclusiveMinimum": 0})
Seconds = Annotated[float, BeforeValidator(duration), Field(gt=0), _SOME_SECONDS]
SecondsOrZero = Annotated[float, BeforeValidator(duration), WithJsonSchema({**DURATION_SHAPE})]
Bytes = Annotated[int, BeforeValidator(size), Field(gt=0), WithJsonSchema({**SIZE_SHAPE, "exclusiveMinimum": 0})]
_LIST = WithJsonSchema({"type": ["string", "array"], "items": {"type": ["string", "number"]}})
Words = Annotated[tuple[str, ...], BeforeValidator(_words), _LIST]
Folder = Annotated[Path, BeforeValidator(places.absolute)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Seconds as float, bytes as int. The descriptions are those of docs/configuration.md."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    # Listening
    host: str = Field("127.0.0.1", description="Address or name to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8002, description="Port to listen on; 0 = any free one.")
    api: Literal["openai", "ollama", "both"] | None = Field(
        None, description="Moves the default port to where its clients look: openai 8080, ollama 11434, both 8080."
    )
    also_listen: Words = Field((), description="Further `host:port` addresses of this server, as far as they are free.")
    lan: bool = Field(False, description="Listen on every interface (host 0.0.0.0 unless said). Needs a strong key.")
    open_to_all: bool = Field(False, description="Serve the network without a key. Warned about at every start.")
    mdns: bool = Field(True, description="With lan: tell the network the name `mdns_name`.local, and that we serve.")
    mdns_name: str = Field("lanhaven", description="Name on the network, without .local.")
    tls: bool = Field(False, description="Serve HTTPS; without tls_cert, with a certificate of an own authority.")
    tls_cert: Folder | None = Field(None, description="Certificate (PEM, with its chain) to serve HTTPS with.")
    tls_key: Folder | None = Field(None, description="The key of tls_cert (PEM, without a password).")
    trusted_proxies: Words = Field(
        (), description="Networks of reverse proxies whose X-Forwarded-For and -Proto are believed."
    )

    # Who may come in
    api_key: SecretStr | None = Field(
        None, description="Key that requests must carry, besides those of `lanhaven keys`."
    )
    require_auth_for_health: bool = Field(False, description="Whether /health wants the key as well.")
    ip_allowlist: Words | None = Field(
        None,
        description="Networks that may connect. Not said = loopback and the interface's subnet; `*` = all, and alone.",
    )
    allowed_hosts: Words = Field((), description="Further names under which clients reach this server (Host header).")
    lmstudio_guests: Words = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Networks from which LM Studio's clients may come without a key; empty = none.",
    )
    cors_origins: Words = Field((), description="Web pages that may call; `*` = any, never with credentials.")

    # General
    env: Literal["local", "production", "test"] = Field("production", description="Kind of installation.")
    log_level: Literal["critical", "error", "warning", "info", "debug"] = Field(
        "info", description="Least level logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto = text on a terminal, else JSON lines."
    )
    mock: bool = Field(False, description="Serve scripted models only, without an engine (`--provider mock`).")

    # Places
    models_file: Folder | None = Field(
        None, description="The models file. Not said = `./models.yaml` if there, else models.yaml in config_dir."
    )
    config_dir: Folder = Field(
        default_factory=places.config_dir, description="Folder of config.yaml, models.yaml and the keys."
    )
    data_dir: Folder = Field(default_factory=places.data_dir, description="Folder of the database and fetched models.")
    state_dir: Folder = Field(
        default_factory=places.state_dir, description="Folder of logs and of notes about what runs."
    )
    cache_dir: Folder = Field(default_factory=places.cache_dir, description="Folder of what can be made again.")
    run_dir: Folder = Field(
        default_factory=lambda: places.run_dir(environment()), description="Folder of sockets; at most 70 bytes long."
    )

    # Residency
    max_loaded_models: Count = Field(2, description="Automatic instances in memory at once.")
    memory_budget: Bytes | None = Field(None, description="Memory for instances. Not said = what the machine has free.")
    idle_ttl: SecondsOrZero = Field(
        3600.0, description="An automatic instance unloads when unused this long; 0 = never."
    )
    queue_depth: Count = Field(64, description="Requests that may wait for one instance.")
    queue_wait: SecondsOrZero = Field(60.0, description="Longest wait for an instance, not streaming; 0 = none.")
    queue_wait_stream: SecondsOrZero = Field(600.0, description="Longest wait for an instance, streaming; 0 = none.")
    load_timeout: Seconds = Field(600.0, description="Longest load.")
    load_stall: Seconds = Field(300.0, description="Longest time without progress in a load.")
    prewarm: bool = Field(False, description="Ask preloaded models one word, so that the first real answer is quick.")
    default_slots: Count = Field(4, description="Parallel sequences of an instance whose load config is silent.")
    prompt_cache_mib: Annotated[int, Field(ge=0)] = Field(256, description="Prompt cache of a llama.cpp instance, MiB.")

    # Batches
    batch_concurrency: Count = Field(2, description="Requests of batch files that are computed at once.")
    batch_file_bytes: Bytes = Field(200 * 2**20, description="Largest file of a batch.")
    batch_disk_bytes: Bytes = Field(2 * 2**30, description="Disk that files and results of batches may take together.")
    batch_keep: Seconds = Field(7 * 86_400.0, description="How long files and results of batches are kept.")

    # History
    history: bool = Field(True, description="Keep what went through: who, which model, times and tokens. No texts.")
    history_days: Count = Field(7, description="Days for which each request is kept; sums of hours are kept for 90.")
    history_bytes: Bytes = Field(64 * 2**20, description="Largest size of the history's file; the oldest go first.")

    # Stopping
    drain_timeout: SecondsOrZero = Field(30.0, description="How long running requests may finish before an unload.")
    shutdown_timeout: Seconds = Field(45.0, description="Longest time from the first signal to the exit.")
    engine_stop: SecondsOrZero = Field(10.0, description="How long an engine may take to stop before it is killed.")

    # Requests to engines and upstreams
    proxy_timeout: SecondsOrZero = Field(120.0, description="Longest answer without streaming; 0 = no limit.")
    proxy_stream_timeout: SecondsOrZero = Field(0.0, description="Longest streamed answer; 0 = no limit.")
    stream_idle: Seconds = Field(300.0, description="Longest silence between two pieces of a stream.")
    first_byte_timeout: Seconds = Field(600.0, description="Longest wait for the first piece of a stream.")
    upstream_connect: Seconds = Field(2.0, description="Longest connection attempt to an engine or upstream.")
    lmstudio_base_url: str = Field("http://127.0.0.1:1234", description="Where LM Studio serves.")
    providers: Annotated[Mapping[str, Mapping[str, Any]], BeforeValidator(_options)] = Field(
        default_factory=dict, repr=False, description="Options of each provider, by its name."
    )

    # Clients' connections
    keep_alive_interval: Seconds = Field(15.0, description="A waiting stream gets a comment line this often.")
    write_stall: Seconds = Field(60.0, description="A client that reads nothing for this long is let go.")
    header_timeout: Seconds = Field(10.0, description="Longest time for a request's headers.")
    body_idle: Seconds = Field(30.0, description="Longest silence within a request's body.")
    body_total: Seconds = Field(120.0, description="Longest time for a request's body.")
    http_keep_alive: SecondsOrZero = Field(30.0, description="How long an idle connection stays open; 0 = not at all.")
    max_body_bytes: Bytes = Field(32 * 2**20, description="Largest request body.")
    max_connections: Count = Field(4096, description="Connections at once; more are refused.")
    max_debug_subscribers: Annotated[int, Field(ge=0)] = Field(256, description="Readers of /debug/stream at once.")

    # Images
    max_images_per_request: Count = Field(
        10, description="New images in one request; a conversation may hold ten times as many."
    )
    max_image_bytes: Bytes = Field(20 * 2**20, description="Largest image, as it is sent or fetched.")
    max_image_pixels: Count = Field(50_000_000, description="Most pixels of an image, width times height.")
    image_max_side: Annotated[int, Field(ge=0)] = Field(
        2048, description="Longest side of an image as models get it, in pixels; 0 = as it comes."
    )
    image_hosts: Words = Field(
        (), description="Hosts that images may be fetched from: `name`, `*.name`, with `:port`, `*` = any; none = off."
    )
    image_networks: Words = Field(
        (), description="Networks, beside public addresses, where hosts of image_hosts may lie."
    )

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {**{name: value for name, (value, _) in derived(data).items()}, **data}

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        return addresses.host(value)

    @field_validator("mdns_name")
    @classmethod
    def _mdns_name(cls, value: str) -> str:
        return addresses.label(value)

    @field_validator("tls_key")
    @classmethod
    def _tls_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert") is None):
            raise ValueError("tls_cert and tls_key go together: name both files, or neither")
        return value

    @field_validator("also_listen")
    @classmethod
    def _also_listen(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(addresses.listener_text(*addresses.listener(entry)) for entry in value)

    @field_validator("ip_allowlist")
    @classmethod
    def _ip_allowlist(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else addresses.allowlist(value)

    @field_validator("image_hosts")
    @classmethod
    def _image_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(addresses.image_host(entry) for entry in value)

    @field_validator("trusted_proxies", "lmstudio_guests", "image_networks")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return addresses.networks(value)

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(addresses.host_name(entry) for entry in value)

    @field_validator("cors_origins")
    @classmethod
    def _cors_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(addresses.origin(entry) for entry in value)

    @field_validator("lmstudio_base_url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        return addresses.base_url(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _log_level(cls, value: object) -> object:
        lowered = value.lower() if isinstance(value, str) else value
        return LOG_LEVEL_NAMES.get(lowered, lowered) if isinstance(lowered, str) else lowered

    @field_validator("api_key")
    @classmethod
    def _api_key(cls, value: SecretStr | None) -> SecretStr | None:
        """A key travels in a header, so it is visible ASCII. How strong it must be depends on who can reach us."""
        text = value.get_secret_value() if value is not None else "x"
        if not text or not all("!" <= letter <= "~" for letter in text):
            raise ValueError("must be visible ASCII without blanks, because it travels in an HTTP header")
        return value

    @field_validator("run_dir")
    @classmethod
    def _run_dir(cls, value: Path) -> Path:
        if len(str(value).encode()) > places.LONGEST_RUN_DIR:
            raise ValueError(f"{value} is too long for sockets: use a path of at most {places.LONGEST_RUN_DIR} bytes")
        return value

    @model_validator(mode="after")
    def _one_listener_each(self) -> Self:
        listeners = self.listeners()
        if len(set(listeners)) != len(listeners):
            raise ValueError("also_listen names an address twice, or the main one again")
        return self

    def listeners(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of each address to listen on, the main one first."""
        return ((self.host, self.port), *(addresses.listener(entry) for entry in self.also_listen))

    @property
    def https(self) -> bool:
        """Whether the server speaks TLS."""
        return self.tls or self.tls_cert is not None

    def loaded_limit(self, of_models_file: int | None) -> int:
        """max_loaded_models: as said here, else as models.yaml says, else the default."""
        if "max_loaded_models" in self.model_fields_set or of_models_file is None:
            return self.max_loaded_models
        return of_models_file

    def public(self) -> dict[str, Any]:
        """Every setting as JSON values, with secrets masked: for `config show` and the dashboard."""
        paths = {name for name, value in self.model_dump().items() if isinstance(value, Path)}  # tls_key names a file
        shown = self.model_dump(mode="json").items()
        return {name: value if name in paths else _masked(name, value) for name, value in shown}


def derived(said: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Defaults that other settings move: {setting: (value, why)}."""
    moved: dict[str, tuple[Any, str]] = {}
    port = API_PORTS.get(str(said.get("api")))
    if port is not None and "port" not in said:
        moved["port"] = (port, f"because api is {said['api']}")
    if "host" not in said and str(said.get("lan", False)).lower() in {"true", "1", "yes", "on", "t", "y"}:
        moved["host"] = ("0.0.0.0", "because lan is on")
    return moved


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(name, inner) for inner in value]
    secret = isinstance(value, str) and value and any(mark in name.upper() for mark in SECRET_MARKS)
    return MASK if secret else value
