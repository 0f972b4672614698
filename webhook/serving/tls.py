"""The serving certificate, taken over from its Secret while the server runs.

Each certificate gets a fresh SSLContext, which each handshake then switches to (`sni_callback`). Loading into the
live context would be shorter, but a key that does not fit breaks it, and a change from RSA to EC keeps serving the
old certificate to some clients.
"""

import logging
import os
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from webhook import metrics

_START_SECONDS = 60.0

log = logging.getLogger(__name__)


class Certificate:
    """The pair `tls.crt` and `tls.key` in a folder, as it is now.

    Args:
        folder: Where the Secret is mounted.
        every: Seconds between two looks at it.
        client_ca: Certificates of which one must have signed a client's, followed like the pair; without it any client
            that reaches the port may call.

    """

    def __init__(self, folder: Path, every: float = 5.0, client_ca: Path | None = None) -> None:
        self._folder, self._every, self._client_ca = folder, every, client_ca
        self._seen: object = None
        self._current: ssl.SSLContext | None = None

    @property
    def loaded(self) -> bool:
        """Whether there is a certificate to serve with."""
        return self._current is not None

    def wait(self, seconds: float = _START_SECONDS) -> None:
        """Load the pair, giving its issuer some time.

        Raises:
            RuntimeError: There is still no usable pair after so many seconds.

        """
        deadline = time.monotonic() + seconds
        while error := self._try():
            log.warning("waiting for tls.crt and tls.key in %s: %s", self._folder, error)
            if time.monotonic() >= deadline:
                raise RuntimeError(
                    f"no usable tls.crt and tls.key in {self._folder} after {seconds:.0f} s ({error}); "
                    "is the Secret there, and has cert-manager filled it (kubectl get certificates)?"
                )
            time.sleep(min(self._every, 1.0))

    def start(self) -> None:
        """Follow changes in a thread of its own, which ends with the process."""
        threading.Thread(target=self._follow, name="certificate", daemon=True).start()

    def server_context(self) -> ssl.SSLContext:
        """A context for a listening server; every handshake gets the certificate of its moment."""
        base = _context(self._client_ca)
        base.sni_callback = self._switch
        return base

    def _switch(self, connection: ssl.SSLObject, _name: str | None, _base: ssl.SSLContext) -> None:
        if self._current:
            connection.context = self._current

    def _follow(self) -> None:
        reported: str | None = None
        while True:
            time.sleep(self._every)
            try:
                error = self._try()
            except Exception as fault:  # noqa: BLE001 - reported below; without this thread no certificate is ever renewed
                error = f"fault: {fault!r}"
            if error and error != reported:
                metrics.CERTIFICATE_REJECTED.inc()
                log.error("the certificate before keeps serving: %s", error)
            reported = error

    def _try(self) -> str | None:
        """Take over the pair if it is new; the reason why not, at every try until it is good."""
        try:
            folder = _resolved(self._folder)
            files = [folder / "tls.crt", folder / "tls.key", *([self._client_ca] if self._client_ca else [])]
            seen = (folder, *map(_version, files))
            if seen == self._seen:
                return None
            self._load(folder)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            return str(error)
        self._seen = seen
        return None

    def _load(self, folder: Path) -> None:
        fresh = _context(self._client_ca)
        fresh.load_cert_chain(folder / "tls.crt", folder / "tls.key")  # refuses a pair that does not fit
        expiry = not_after(ssl.PEM_cert_to_DER_cert(_first((folder / "tls.crt").read_text())))
        self._current = fresh
        metrics.CERTIFICATE_EXPIRY.set(expiry.timestamp())
        log.info("serving with a new certificate", extra={"expires": expiry.isoformat()})


def _context(client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_ca:
        # The listening context decides whether to ask, the context switched to which CA to trust.
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.read_text())
    return context


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


def _first(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    return chain[chain.index("-----BEGIN CERTIFICATE-----") : chain.index(end) + len(end)]


def not_after(certificate: bytes) -> datetime:
    """The end of a DER certificate's validity.

    The standard library reads that field only of a peer it trusts. Its way there: Certificate, tbsCertificate,
    then past version, serialNumber, signature and issuer (RFC 5280, 4.1).

    Raises:
        ValueError: This is no X.509 certificate.

    """
    try:
        tbs = _members(_members(certificate)[0][1])[0][1]
        fields = [value for tag, value in _members(tbs) if tag != 0xA0]  # version is optional
        tag, value = _members(fields[3])[1]
        return datetime.strptime(value.decode("ascii"), "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ").replace(
            tzinfo=UTC
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("not an X.509 certificate") from error


def _members(data: bytes) -> list[tuple[int, bytes]]:
    """The tag-length-value elements that stand in a row (X.690, 8.1)."""
    found, at = [], 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:  # long form: so many bytes of length follow
            width = length & 0x7F
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        found.append((tag, data[at : at + length]))
        at += length
    return found
