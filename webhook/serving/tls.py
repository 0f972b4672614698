"""The serving certificate, replaced while the server runs, and only by one that is good.

Each certificate gets a fresh SSLContext, with which new connections begin. Loading into the live context would be
shorter, but a key that does not fit breaks it, and a change from RSA to EC keeps serving the old certificate to some
clients. A context also holds what sessions are resumed by, and who resumes one is not asked for a certificate again
(RFC 8446, 2.2): none may outlive its client CA, as in one context that switches to others (`sni_callback`).
"""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from webhook import metrics
from webhook.certificates.apart import Failed
from webhook.certificates.pair import Pair, Refused, Validity, examine

_START_SECONDS = 60.0
_GRACE_SECONDS = 600.0
"""How long a refused certificate may stand before readiness mentions it, and between two log lines about it."""

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where the pair comes from. Its `str` names it for people."""

    hint: str
    """What to look at where there is no pair."""

    def version(self) -> object:
        """Something else whenever the pair is another one.

        Raises:
            OSError: There is none.

        """

    def read(self) -> Pair:
        """The pair as it is now.

        Raises:
            OSError: There is none.

        """


class Folder:
    """The files `tls.crt` and `tls.key` of a mounted Secret, or of any folder."""

    hint = "is the Secret there, and has cert-manager filled it (kubectl get certificates)?"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return f"tls.crt and tls.key in {self._folder}"

    def version(self) -> object:
        """As `Source`."""
        folder = _resolved(self._folder)
        return folder, _version(folder / "tls.crt"), _version(folder / "tls.key")

    def read(self) -> Pair:
        """As `Source`."""
        folder = _resolved(self._folder)
        return Pair((folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())


class _Loaded(Struct, frozen=True):
    """A pair to serve with, and when."""

    context: ssl.SSLContext
    validity: Validity


class Certificate:
    """What handshakes get: the newest pair of its source that was good.

    Args:
        source: Where pairs come from.
        every: Seconds between two looks at it.
        client_ca: Certificates of which one must have signed a client's, followed like the pair; without it any client
            that reaches the port may call.
        minimum: The oldest version of TLS to speak.
        server_name: The name that a certificate must have; any where it is empty.
        clock: The time, for the certificate's validity.

    """

    def __init__(
        self,
        source: Source,
        every: float = 5.0,
        client_ca: Path | None = None,
        minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        server_name: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source, self._every, self._client_ca = source, every, client_ca
        self._minimum, self._server_name, self._clock = minimum, server_name, clock
        self._seen: object = None
        self._found: _Loaded | Refused | None = None
        """What became of the pair that was seen last."""
        self._current: _Loaded | None = None
        self._refusal = _Refusal()
        self._changed = threading.Event()

    @property
    def valid(self) -> bool:
        """Whether there is a certificate to serve with that has not expired."""
        return self._current is not None and self._clock() < self._current.validity.not_after

    def notes(self) -> list[str]:
        """What a person should know although all works: a certificate that has been refused for a while."""
        return [f"certificate refused: {self._refusal.text}"] if self._refusal.seconds() >= _GRACE_SECONDS else []

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Load the pair, giving its issuer some time.

        Raises:
            RuntimeError: There is still no usable pair after so many seconds.

        """
        deadline = time.monotonic() + seconds
        while error := self._try():
            log.warning("waiting for %s: %s", self._source, error)
            if time.monotonic() >= deadline:
                hint = self._source.hint
                raise RuntimeError(f"no usable {self._source} after {seconds:.0f} s ({error}); {hint}")
            self._changed.wait(min(self._every, 1.0))
            self._changed.clear()

    def start(self) -> None:
        """Follow changes in a thread of its own, which ends with the process."""
        threading.Thread(target=self._follow, name="certificate", daemon=True).start()

    def changed(self) -> None:
        """Say that the source has another pair, instead of letting it be found."""
        self._changed.set()

    def context(self) -> ssl.SSLContext:
        """What a new connection begins with.

        Raises:
            RuntimeError: There is none before `wait`.

        """
        if self._current is None:
            raise RuntimeError(f"no usable {self._source} yet")
        return self._current.context

    def _follow(self) -> None:
        while True:
            self._changed.wait(self._every)
            self._changed.clear()
            try:
                error = self._try()
            except Exception as fault:  # noqa: BLE001 - reported below; without this thread no certificate is ever renewed
                error = Refused("unreadable", f"fault: {fault!r}")
            self._refusal.now(error)

    def _try(self) -> Refused | None:
        """Take over the pair if it is new; the reason why not, at every try until it is good."""
        try:
            seen = (self._source.version(), _version(self._client_ca) if self._client_ca else None)
            if seen != self._seen:
                self._found, self._seen = self._read(), seen
            if isinstance(self._found, Refused):
                return self._found
            if self._found is not None:
                self._take(self._found)
        except Refused as error:
            return error
        except (Failed, ValueError) as error:
            return Refused("unreadable", str(error))
        except OSError as error:
            return Refused("missing", str(error))
        return None

    def _read(self) -> _Loaded | Refused:
        pair = self._source.read()
        try:
            validity = examine(pair, self._server_name)
            return _Loaded(self._context_with(pair), validity)
        except Refused as error:
            return error
        except ssl.SSLError as error:
            return Refused("unreadable", f"OpenSSL does not take it: {error}")

    def _take(self, found: _Loaded) -> None:
        found.validity.check(self._clock())  # of the one that serves as well: nothing else keeps it from expiring
        if found is self._current:
            return
        self._current = found
        metrics.CERTIFICATE_EXPIRY.set(found.validity.not_after.timestamp())
        log.info("serving with a new certificate", extra={"expires": found.validity.not_after.isoformat()})

    def _context_with(self, pair: Pair) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        if self._client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata=self._client_ca.read_text())
        # The standard library loads from files alone. This one is in memory: the key of a Secret that is read over the
        # API never reaches a disk.
        with os.fdopen(os.memfd_create("tls"), "wb") as file:
            file.write(b"\n".join([pair.key, pair.chain]))
            file.flush()
            context.load_cert_chain(
                f"/proc/self/fd/{file.fileno()}", password=""
            )  # none, and OpenSSL never asks for one
        return context


class _Refusal:
    """Why the source's pair is not taken over, and for how long: counted at each new one, logged now and then."""

    def __init__(self) -> None:
        self.text = ""
        self._since = self._logged = 0.0

    def seconds(self) -> float:
        """How long there has been something to refuse."""
        return time.monotonic() - self._since if self.text else 0.0

    def now(self, error: Refused | None) -> None:
        """Take note of the last look."""
        text, at = str(error or ""), time.monotonic()
        if text and not self.text:
            self._since = at
        if error and (text != self.text or at - self._logged >= _GRACE_SECONDS):
            if text != self.text:
                metrics.CERTIFICATE_REJECTED.labels(error.reason).inc()
            self._logged = at
            log.error("no new certificate, the one before keeps serving: %s", text, extra={"reason": error.reason})
        self.text = text
        metrics.CERTIFICATE_REFUSED_SECONDS.set(self.seconds())


def _resolved(folder: Path) -> Path:
    """Where the files really are.

    The kubelet changes a mounted Secret by moving the link `..data` to a new folder: reading both files from one
    resolved folder never gives a certificate with another's key.
    """
    data = folder / "..data"
    return Path(os.path.realpath(data)) if data.exists() else folder


def _version(file: Path) -> tuple[int, int, int]:
    """Changes when the file does, also where it is written in place (no kubelet)."""
    stat = file.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
