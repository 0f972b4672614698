"""Loki's HTTP API, as far as the reading of a trail needs it: lines of a time, and numbers about them.

https://grafana.com/docs/loki/latest/reference/loki-http-api/

Credentials come from the variables that Loki's own `logcli` reads, never from the command line, which others can see.
"""

import os
import re
from base64 import b64encode
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.shell import visible

if TYPE_CHECKING:
    import urllib3

T = TypeVar("T")
Line = tuple[int, str]
"""When it was written, in nanoseconds since 1970, and the line."""
SECOND = 1_000_000_000

_API = "/loki/api/v1/"
_MOST = 64 << 20
"""Bytes of an answer."""
_TRY_AGAIN = (429, 502, 503)
_SHOWN = 300
"""Characters of an answer that is an error."""
_ENTRIES = re.compile(r"max_entries_limit\w* \(\d+ > (\d+)\)")
_LENGTH = re.compile(r"query time range exceeds the limit")
_SHORTER = "a shorter time by --since or --loki-days is less work for it"
_REMEDIES = {
    400: 'does --loki-selector choose streams, as {app="exectrail"} does?',
    401: "set LOKI_BEARER_TOKEN, or LOKI_USERNAME and LOKI_PASSWORD, and name the tenant by --loki-org-id",
    403: "these credentials may not read this tenant's logs: use others, or another tenant by --loki-org-id",
    404: "--loki takes the address of Loki itself, what stands before /loki/api/v1",
    429: f"try again later; {_SHORTER}",
}
_NO_LOKI = "--loki takes the address of Loki itself, not of Grafana or of a login page"


class LokiError(OSError):
    """Loki could not be asked, or did not answer; the message says what to do."""


class TooManyLines(LokiError):
    """Loki answers no request for so many lines, or the answer is too large; `most` can be asked for."""

    def __init__(self, message: str, most: int) -> None:
        super().__init__(message)
        self.most = most


class TooLong(LokiError):
    """Loki answers no query over so long a time."""


class _Data(Struct):
    result: msgspec.Raw


class _Answer(Struct):
    status: str
    data: _Data


class _Stream(Struct):
    values: list[tuple[str, str]]


class _Sample(Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class Loki:
    """Talks to one Loki.

    Args:
        url: What stands before `/loki/api/v1`, without credentials.
        org_id: The tenant.
        ca: File of the certificate authority, if it is none of the system's.

    Raises:
        LokiError: urllib3 is not installed, or the file cannot be read.

    """

    def __init__(self, url: str, org_id: str | None = None, ca: str | None = None) -> None:
        try:
            import urllib3  # noqa: PLC0415 - optional
        except ImportError:
            raise LokiError("reading Loki needs the package urllib3: pip install urllib3") from None
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "exectrail"} | _credentials()
        if org_id:
            self._headers["X-Scope-OrgID"] = org_id
        try:
            if ca:
                with open(ca, "rb"):
                    pass
        except OSError as error:
            raise LokiError(f"--loki-ca {visible(ca or '')}: {error.strerror}") from error
        self._http = urllib3.PoolManager(
            ca_certs=ca,
            timeout=urllib3.Timeout(connect=10.0, read=300.0),
            retries=urllib3.Retry(
                3,
                connect=0,
                read=0,
                redirect=0,
                other=0,
                status_forcelist=_TRY_AGAIN,
                backoff_factor=0.5,
                raise_on_status=False,
            ),
        )
        self._failures = (urllib3.exceptions.HTTPError, OSError)

    def lines(self, query: str, start: int, end: int, limit: int) -> list[Line]:
        """The first lines from `start` until before `end`, both in nanoseconds; in no order.

        Raises:
            LokiError: Loki did not answer.
            TooManyLines: With a lower limit it does.
            TooLong: Over a shorter time it does.

        """
        found = self._ask(
            "query_range",
            list[_Stream],
            {"query": query, "start": str(start), "end": str(end), "limit": str(limit), "direction": "forward"},
        )
        return [(int(time), line) for stream in found for time, line in stream.values]

    def numbers(self, query: str, at: int, label: str) -> dict[str, int]:
        """What a query over numbers answers at a time, by a label.

        Raises:
            LokiError: Loki did not answer.

        """
        found = self._ask("query", list[_Sample], {"query": query, "time": str(at)})
        return {sample.metric.get(label, ""): int(float(sample.value[1])) for sample in found}

    def _ask(self, endpoint: str, kind: type[T], fields: dict[str, str]) -> T:
        # Parts of Loki pass on at most 4 MiB to each other by default. A larger answer never comes: after a minute it
        # says 504, or nothing.
        fewer = int(fields.get("limit", "0")) // 4
        try:
            response = self._http.request(
                "GET",
                f"{self.url}{_API}{endpoint}",
                fields=fields,
                headers=self._headers,
                preload_content=False,
                redirect=False,  # to wherever, with our credentials
            )
            try:
                body = response.read(_MOST + 1)
            finally:
                response.close()
        except self._failures as error:
            if "RemoteDisconnected" in str(error):
                raise TooManyLines(_unreachable(error), fewer) from error
            raise LokiError(_unreachable(error)) from error
        except ValueError:  # its words may have the credentials
            raise LokiError("the credentials or --loki-org-id have characters that no header of HTTP has") from None
        if len(body) > _MOST:
            raise TooManyLines(f"an answer of more than {_MOST >> 20} MiB", fewer)
        if response.status == HTTPStatus.GATEWAY_TIMEOUT:
            raise TooManyLines(str(_refusal(response, body)), fewer)
        if response.status != HTTPStatus.OK:
            raise _refusal(response, body)
        return _decoded(body, kind)


def _credentials() -> dict[str, str]:
    if token := os.environ.get("LOKI_BEARER_TOKEN"):
        return {"Authorization": f"Bearer {token.strip()}"}
    if user := os.environ.get("LOKI_USERNAME"):
        both = f"{user}:{os.environ.get('LOKI_PASSWORD', '')}".encode(errors="surrogateescape")
        return {"Authorization": f"Basic {b64encode(both).decode()}"}
    return {}


def _unreachable(error: Exception) -> str:
    words = visible(str(getattr(error, "reason", None) or error))
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return f"its certificate is not trusted: name its authority by --loki-ca ({words})"
    if "IncompleteRead" in words:
        return f"the answer was cut; try again ({words})"
    return f"no answer ({words}); is the address right?"


def _refusal(response: "urllib3.BaseHTTPResponse", body: bytes) -> LokiError:
    status = response.status
    words = "an HTML page" if _is_page(body) else visible(body.decode(errors="replace").strip()[:_SHOWN])
    if most := _ENTRIES.search(words):
        return TooManyLines(words, int(most[1]))
    if _LENGTH.search(words):
        return TooLong(words)
    remedy = _NO_LOKI if 300 <= status < 400 else _REMEDIES.get(status, f"Loki's own log says why; {_SHORTER}")
    reason = visible(response.reason or "")
    return LokiError(f"it answered {status} {reason}".rstrip() + (f" ({words})" if words else "") + f"; {remedy}")


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        return msgspec.json.decode(answer.data.result, type=kind)
    except UNREADABLE as error:
        if body.lstrip().startswith(b'{"status"'):
            raise LokiError(f"its answer is cut or damaged ({visible(str(error))}); try again") from error
        what = "an HTML page" if _is_page(body) else "what Loki never answers"
        raise LokiError(f"it answered {what}; {_NO_LOKI}") from error


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"
