"""Finding the running server, and speaking HTTP with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Self
from urllib.parse import urlsplit

import typer

from lanhaven.cli.failure import CliError, Exit
from lanhaven.runfile import state_folder as state_folder

if TYPE_CHECKING:
    import ssl

DEFAULT_URL = "http://127.0.0.1:8002"
QUICK = 10.0  # seconds for a question that a healthy server answers at once
CONNECT = 5.0

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server to ask (else LANHAVEN_URL, else the one running here)."),
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="API key (else LANHAVEN_API_KEY).")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]

# Codes with which a server says that it could not load the model.
_MODEL_CODES = frozenset({"insufficient_memory", "load_failed", "engine_crashed", "engine_hung"})


@dataclass(frozen=True, slots=True)
class Target:
    """Which server, with which key, and who said so: "option", "environment", "run file" or "default"."""

    url: str
    key: str | None
    source: str
    pid: int | None = None

    def __repr__(self) -> str:
        return f"Target({self.url} from {self.source}{' with key' if self.key else ''})"


def find(url: str | None, key: str | None) -> Target:
    """The server meant: option, environment, the server this user runs, the default address, in this order.

    The run file's token goes to the address in the run file only, never to an address from elsewhere.
    """
    from lanhaven import runfile
    from lanhaven.config import client_environment

    environment_url, environment_key, _ = client_environment()
    running = runfile.read(state_folder())
    key = key or environment_key
    named = (url, "option") if url else (environment_url, "environment")
    if named[0]:
        address = named[0].rstrip("/")
        own = running if running is not None and running.url == address else None
        return Target(address, key or (own.token if own else None), named[1], own.pid if own else None)
    if running is not None:
        return Target(running.url, key or running.token, "run file", running.pid)
    return Target(DEFAULT_URL, key, "default")


class Server:
    """One running server. Use as a context manager; leaving it closes every connection, which ends what they asked for.

    Errors are CliErrors: 3 not reachable, 4 not authorised, 5 not found, 6 a model did not load, 1 all others.
    """

    def __init__(self, target: Target) -> None:
        import httpx2

        from lanhaven import __version__

        headers = {"user-agent": f"lanhaven-cli/{__version__}"}
        if target.key:
            headers["x-api-key"] = target.key
        self.target = target
        if urlsplit(target.url).scheme in ("http", "https") and not urlsplit(target.url).hostname:
            raise _bad_url(target.url, "it names no machine")
        try:
            # A proxy from the environment must not come between us and a server on this machine.
            self._http = httpx2.Client(
                base_url=target.url,
                headers=headers,
                trust_env=not _is_loopback(target.url),
                timeout=QUICK,
                verify=_trust(target.url),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise _bad_url(target.url, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, *, timeout: float = QUICK, **query: str) -> Any:
        """GET, decoded JSON."""
        return self._exchange("GET", path, None, timeout, query)

    def post(self, path: str, body: Mapping[str, Any], *, timeout: float | None = QUICK) -> Any:
        """POST of a JSON body, decoded JSON. timeout None: the answer may take as long as it takes."""
        return self._exchange("POST", path, body, timeout, {})

    def text(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Any request, and the whole reply as it came; it may take as long as it takes."""
        import httpx2

        with self._translated():
            response = self._http.request(method, path, json=body, timeout=httpx2.Timeout(None, connect=CONNECT))
            if response.is_error:
                _refused(response.status_code, _body(response), self.target)
            return response.text

    @contextmanager
    def events(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Iterator[Iterator[tuple[str, str]]]:
        """Server-Sent Events as (event name, data), for as long as the server sends."""
        import httpx2

        with self._translated():
            limits = httpx2.Timeout(None, connect=CONNECT)
            headers = {"accept": "text/event-stream"}
            with self._http.stream(method, path, json=body, headers=headers, timeout=limits) as response:
                if response.is_error:
                    response.read()
                    _refused(response.status_code, _body(response), self.target)
                yield ((event.event, event.data) for event in httpx2.EventSource(response))

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float | None, query: Mapping[str, str]
    ) -> Any:
        import httpx2

        with self._translated():
            limits = httpx2.Timeout(timeout, connect=CONNECT if timeout is None else min(CONNECT, timeout))
            response = self._http.request(method, path, json=body, params=query or None, timeout=limits)
        answer = _body(response)
        if response.is_error:
            _refused(response.status_code, answer, self.target)
        if answer is None:
            raise _stranger(self.target)
        return answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Network failures as CliErrors."""
        import httpx2

        url = self.target.url
        try:
            yield
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise _bad_url(url, error) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise _untrusted(url, error) from None
            raise CliError(f"no server at {url}", "lanhaven up", "lanhaven doctor", status=Exit.UNREACHABLE) from None
        except httpx2.TimeoutException:
            raise CliError(
                f"the server at {url} took the connection but did not answer in time",
                "lanhaven doctor",
                status=Exit.UNREACHABLE,
            ) from None
        except httpx2.SSEError:
            raise _stranger(self.target) from None
        except httpx2.TransportError:
            raise CliError(
                f"the connection to {url} broke off", "lanhaven status", "lanhaven doctor", status=Exit.UNREACHABLE
            ) from None


def connect(url: str | None, key: str | None) -> Server:
    """The server meant, not yet asked anything."""
    return Server(find(url, key))


def _trust(url: str) -> ssl.SSLContext | bool:
    """For plain HTTP nobody: to read the system's list and to import the client takes a third of a short command."""
    import ssl

    if not url.startswith("https://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    from lanhaven.client.trust import verification
    from lanhaven.config import client_environment

    return verification(url, client_environment().ca, state_folder())


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _body(response: Any) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _refused(status: int, body: Any, target: Target) -> NoReturn:
    """The CliError for an error reply: native ({"error": text, code, hint}) or OpenAI ({"error": {message, code}})."""
    record: Mapping[str, Any] = body if isinstance(body, dict) else {}
    inner = record.get("error")
    facts = {**record, **inner} if isinstance(inner, dict) else record
    text = inner if isinstance(inner, str) else facts.get("message")
    code = str(facts["code"]) if facts.get("code") else None
    exit_status, advice = _judge(status, code, target)
    if isinstance(facts.get("details"), list):
        exit_status = Exit.USAGE
    if not isinstance(text, str):
        text = f"the server at {target.url} answered with status {status}"
    text, hint = parted(text, facts.get("hint"))
    if hint and exit_status is Exit.UNAUTHORISED:  # says why; what to do about it is known here
        text, hint = f"{text.removesuffix('.')}: {hint}", None
    tries = (hint,) if hint else advice
    raise CliError(_with_details(text, facts), *tries, status=exit_status, code=code, reply=facts)


def parted(text: str, hint: object = None) -> tuple[str, str | None]:
    """What happened and what to try. OpenAI's envelope has no field for the latter: there it stands behind "Try:"."""
    text, _, tail = text.partition(" Try: ")
    return text, str(hint) if hint else tail or None


def _judge(status: int, code: str | None, target: Target) -> tuple[Exit, tuple[str, ...]]:
    match status:
        case 400 | 422:
            return Exit.FAILED, ("check the values given; the command's --help has examples",)
        case 401:
            advice = "lanhaven keys ls" if _is_loopback(target.url) else "ask who runs the server for a key"
            return Exit.UNAUTHORISED, ("--key KEY, or LANHAVEN_API_KEY=KEY in the environment", advice)
        case 403:
            return Exit.UNAUTHORISED, ("another key: lanhaven keys add NAME --admin, on the server's machine",
                                       "lanhaven keys ls shows what each is good for")  # fmt: skip
        case 404:
            return Exit.NOT_FOUND, ("lanhaven ls",)
        case 429 if code == "too_many_attempts":
            return Exit.UNAUTHORISED, ("wait a minute, then --key KEY with the right one",)
        case _ if code in _MODEL_CODES:
            return Exit.MODEL, ("lanhaven ps", "lanhaven doctor")
        case _:
            return Exit.FAILED, ("lanhaven doctor", "lanhaven watch")


def _with_details(text: str, facts: Mapping[str, Any]) -> str:
    """A failed validation names its fields: "Validation failed: loadConfig.contextLength: Input should be ..."."""
    details = facts.get("details")
    if not isinstance(details, list):
        return text
    found = [
        f"{'.'.join(str(part) for part in each.get('path', ()))}: {each.get('message', '')}"
        for each in details
        if isinstance(each, dict)
    ]
    return f"{text}: {'; '.join(found)}" if found else text


def _bad_url(url: str, error: object) -> CliError:
    schemed = "://" in url or url.endswith(":")  # "http://" without more has lost its slashes by now
    remedy = f"--url {DEFAULT_URL}" if schemed else f"--url http://{url}"
    return CliError(f"{url!r} is not an address: {error}", remedy, status=Exit.USAGE)


def _untrusted(url: str, error: Exception) -> CliError:
    reason = str(error).partition("verify failed: ")[2].partition(" (_ssl")[0] or "unknown authority"
    return CliError(
        f"the certificate of {url} is not trusted: {reason}",
        f"curl -k {url}/ca.crt -o lanhaven-ca.crt    (on a network that you trust)",
        "LANHAVEN_CA=lanhaven-ca.crt in the environment",
        status=Exit.UNREACHABLE,
    )


def _stranger(target: Target) -> CliError:
    return CliError(
        f"what answers at {target.url} is not a LanHaven server",
        "--url with the address that `lanhaven up` printed",
        "lanhaven doctor",
        status=Exit.UNREACHABLE,
    )
