"""A renewed certificate is served at once, a bad one never, and open connections go on."""

import contextlib
import shutil
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest
import trustme
from prometheus_client import REGISTRY

from tests.unit.waiting import until
from tests.unit.webhook.pairs import bad, issued
from tests.unit.webhook.serving import serving as server
from webhook.app import Webhook
from webhook.certificates import x509
from webhook.certificates.pair import Pair
from webhook.serving import tls
from webhook.serving.tls import Certificate, Folder, _resolved

POLL_SECONDS = 0.01


class Secret:
    """A Secret as the kubelet mounts it: `tls.crt -> ..data/tls.crt`, `..data -> ..<version>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data") / name)

    def write(self, crt: bytes, key: bytes) -> None:
        self.version += 1
        new = self.folder / f"..{self.version}"
        new.mkdir()
        (new / "tls.crt").write_bytes(crt)
        (new / "tls.key").write_bytes(key)
        link = self.folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self.folder / "..data")
        if self.version > 1:
            shutil.rmtree(self.folder / f"..{self.version - 1}")

    def issue(self, ca: trustme.CA, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        self.put(issued(ca, key_type=key_type))

    def put(self, pair: Pair) -> None:
        self.write(pair.chain, pair.key)


def client_context(ca: trustme.CA, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if own:
        own.configure_cert(context)
    ca.configure_trust(context)
    return context


class Client:
    """A TLS connection that stays open."""

    def __init__(
        self, port: int, ca: trustme.CA, name: str | None = "localhost", own: trustme.LeafCert | None = None
    ) -> None:
        context = client_context(ca, own)
        context.check_hostname = name is not None
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        try:
            self.socket = context.wrap_socket(raw, server_hostname=name)
        except OSError:
            raw.close()
            raise

    def get(self) -> bytes:
        self.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return self.socket.recv(4096)

    def serial(self) -> str:
        certificate = self.socket.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def serial(port: int, ca: trustme.CA, name: str | None = "localhost") -> str:
    with Client(port, ca, name) as client:
        assert client.get().startswith(b"HTTP/1.1 200")
        return client.serial()


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"exectrail_webhook_{name}", labels) or 0


def rejected(reason: str) -> float:
    return counted("certificate_rejected_total", reason=reason)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are read here: dozens of processes would take their time."""
    monkeypatch.setattr(tls, "examine", x509.examine)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path)


@pytest.fixture
def port(secret: Secret, ca: trustme.CA, webhook: Webhook) -> Iterator[int]:
    """A webhook that serves on this port with the Secret's certificate."""
    secret.issue(ca)
    with serving(Certificate(Folder(secret.folder), POLL_SECONDS, server_name="localhost"), webhook) as port:
        yield port


@contextlib.contextmanager
def serving(certificate: Certificate, webhook: Webhook) -> Iterator[int]:
    certificate.wait()
    certificate.start()
    with server(webhook, tls=certificate.context) as port:
        yield port


@pytest.mark.parametrize("key_type", list(trustme.KeyType), ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", ["localhost", None], ids=["with SNI", "without SNI"])
def test_a_renewed_certificate_is_served_without_a_restart(
    port: int, secret: Secret, ca: trustme.CA, key_type: trustme.KeyType, name: str | None
) -> None:
    before = serial(port, ca, name)
    with Client(port, ca) as open_before:
        secret.issue(ca, key_type)
        until(lambda: serial(port, ca, name) != before)

        assert open_before.get().startswith(b"HTTP/1.1 200")


BAD = {
    f"{reason}-{at}": (reason, pair)
    for reason, pairs in bad(trustme.CA(), "localhost").items()
    for at, (pair, _) in enumerate(pairs)
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_pair_does_not_replace_a_good_one(port: int, secret: Secret, ca: trustme.CA, case: str) -> None:
    reason, pair = BAD[case]
    before, refused = serial(port, ca), rejected(reason)
    secret.put(pair)
    until(lambda: rejected(reason) > refused)
    assert serial(port, ca) == before
    until(lambda: counted("certificate_refused_seconds") > 0)

    secret.issue(ca)
    until(lambda: serial(port, ca) != before)
    until(lambda: counted("certificate_refused_seconds") == 0)


def test_a_fault_while_loading_is_no_end_to_renewals(
    port: int, secret: Secret, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, refused = serial(port, ca), rejected("unreadable")
    with monkeypatch.context() as broken:
        broken.delattr("webhook.serving.tls.examine")
        secret.issue(ca)
        until(lambda: rejected("unreadable") > refused)

    secret.issue(ca)
    until(lambda: serial(port, ca) != before)


def test_a_secret_that_goes_away_changes_nothing(port: int, secret: Secret, ca: trustme.CA) -> None:
    before, refused = serial(port, ca), rejected("missing")
    (secret.folder / "..data").unlink()
    until(lambda: rejected("missing") > refused)

    assert serial(port, ca) == before


def test_a_pair_that_becomes_valid_later_is_taken_then(secret: Secret, ca: trustme.CA) -> None:
    begin = datetime.now(UTC) + timedelta(days=1)
    now = [begin - timedelta(seconds=1)]
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS, clock=lambda: now[0])
    secret.put(issued(ca, not_before=begin, not_after=begin + timedelta(days=1)))
    with pytest.raises(RuntimeError, match="is valid only from"):
        certificate.wait(0.05)

    now[0] = begin
    certificate.wait(0.05)
    assert certificate.valid


def test_the_certificate_in_use_is_not_valid_once_it_has_expired(secret: Secret, ca: trustme.CA) -> None:
    end = datetime.now(UTC) + timedelta(days=1)
    now, refused = [end - timedelta(seconds=2)], rejected("expired")
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS, clock=lambda: now[0])
    secret.put(issued(ca, not_after=end))
    certificate.wait(10)
    certificate.start()
    assert certificate.valid

    now[0] = end
    until(lambda: not certificate.valid)
    until(lambda: rejected("expired") > refused)


def test_what_is_refused_for_long_is_noted_and_logged_again_and_does_not_make_it_unready(
    secret: Secret, ca: trustme.CA, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS, server_name="localhost")
    secret.issue(ca)
    certificate.wait(10)
    certificate.start()
    secret.put(issued(ca, "elsewhere.example"))
    until(lambda: len(caplog.records) > 0)
    assert certificate.notes() == []
    assert len(caplog.records) == 1

    monkeypatch.setattr(tls, "_GRACE_SECONDS", 0.05)
    until(lambda: len(caplog.records) > 1)
    until(lambda: certificate.notes() != [])
    assert certificate.notes() == [f"certificate refused: {caplog.records[0].args[0]}"]  # type: ignore[index]
    assert certificate.valid


def test_no_handshake_fails_while_certificates_change(port: int, secret: Secret, ca: trustme.CA) -> None:
    serials = set()
    for _ in range(40):
        secret.issue(ca)
        serials.add(serial(port, ca))
    until(lambda: len(serials | {serial(port, ca)}) > 5)


def test_both_files_come_from_the_folder_that_one_look_at_the_link_gave(secret: Secret, ca: trustme.CA) -> None:
    secret.issue(ca)

    assert _resolved(secret.folder) == secret.folder / "..1"


def speaks(port: int, version: str) -> bool:
    """Whether the server takes a client of this version alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    refused = False
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        try:
            context.wrap_socket(raw).close()
        except ssl.SSLError:
            refused = True

    return not refused


@pytest.mark.parametrize(
    ("minimum", "spoken"), [("TLSv1_2", {"TLSv1_2", "TLSv1_3"}), ("TLSv1_3", {"TLSv1_3"})], ids=["1.2", "1.3"]
)
def test_tls_is_spoken_from_the_minimum_on_also_after_a_renewal(
    secret: Secret, ca: trustme.CA, webhook: Webhook, minimum: str, spoken: set[str]
) -> None:
    secret.issue(ca)
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS, minimum=ssl.TLSVersion[minimum])
    with serving(certificate, webhook) as port:
        for _ in range(2):
            assert {version for version in ("TLSv1_1", "TLSv1_2", "TLSv1_3") if speaks(port, version)} == spoken
            before = serial(port, ca)
            secret.issue(ca)
            until(lambda before=before: serial(port, ca) != before)  # type: ignore[misc]


def test_files_without_a_kubelet_are_followed_as_well(tmp_path: Path, ca: trustme.CA) -> None:
    def write(not_after: datetime) -> None:
        leaf = ca.issue_cert("localhost", not_after=not_after)
        (tmp_path / "tls.key").write_bytes(leaf.private_key_pem.bytes())
        (tmp_path / "tls.crt").write_bytes(leaf.cert_chain_pems[0].bytes())

    certificate = Certificate(Folder(tmp_path), POLL_SECONDS)
    first, second = datetime(2098, 1, 2, tzinfo=UTC), datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    write(first)
    certificate.wait()
    assert counted("certificate_expiry_timestamp_seconds") == first.timestamp()
    certificate.start()
    write(second)

    until(lambda: counted("certificate_expiry_timestamp_seconds") == second.timestamp())


def test_without_a_certificate_the_start_fails_and_says_what_to_look_at(tmp_path: Path) -> None:
    certificate = Certificate(Folder(tmp_path), POLL_SECONDS)

    with pytest.raises(RuntimeError, match=r"no usable tls\.crt and tls\.key in .* after 0 s \(.*No such file.*Secret"):
        certificate.wait(0.05)
    assert not certificate.valid


def test_a_certificate_that_comes_late_is_waited_for(secret: Secret, ca: trustme.CA) -> None:
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS)
    timer = threading.Timer(0.05, secret.issue, [ca])
    timer.start()
    certificate.wait(10)
    timer.join()

    assert certificate.valid


def admitted(port: int, ca: trustme.CA, own: trustme.LeafCert | None) -> bool:
    try:
        with Client(port, ca, own=own) as client:
            return client.get().startswith(b"HTTP/1.1 200")
    except OSError:  # the refusal comes with the first byte that is read (TLS 1.3)
        return False


def test_with_a_client_ca_only_its_clients_may_call_also_after_a_renewal(
    secret: Secret, ca: trustme.CA, webhook: Webhook, tmp_path: Path
) -> None:
    callers, others = trustme.CA(), trustme.CA()
    callers.cert_pem.write_to_path(tmp_path / "client-ca.crt")
    caller, other = callers.issue_cert("kube-apiserver"), others.issue_cert("kube-apiserver")
    secret.issue(ca)
    with serving(Certificate(Folder(secret.folder), POLL_SECONDS, tmp_path / "client-ca.crt"), webhook) as port:
        for _ in range(2):
            assert [admitted(port, ca, own) for own in (caller, other, None)] == [True, False, False]
            with Client(port, ca, own=caller) as before:
                number = before.serial()
            secret.issue(ca)
            until(lambda number=number: _serial(port, ca, caller) != number)  # type: ignore[misc]


def _serial(port: int, ca: trustme.CA, own: trustme.LeafCert) -> str:
    with Client(port, ca, own=own) as client:
        return client.serial()


def test_another_client_ca_is_taken_over_without_a_restart(
    secret: Secret, ca: trustme.CA, webhook: Webhook, tmp_path: Path
) -> None:
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(tmp_path / "client-ca.crt")
    secret.issue(ca)
    with serving(Certificate(Folder(secret.folder), POLL_SECONDS, tmp_path / "client-ca.crt"), webhook) as port:
        assert not admitted(port, ca, new.issue_cert("kube-apiserver"))
        new.cert_pem.write_to_path(tmp_path / "client-ca.crt")
        until(lambda: admitted(port, ca, new.issue_cert("kube-apiserver")))

        assert not admitted(port, ca, old.issue_cert("kube-apiserver"))


@pytest.mark.parametrize(
    ("version", "options"),
    [(ssl.TLSVersion.TLSv1_3, 0), (ssl.TLSVersion.TLSv1_2, 0), (ssl.TLSVersion.TLSv1_2, ssl.OP_NO_TICKET)],
    ids=["TLS 1.3", "TLS 1.2, ticket", "TLS 1.2, session ID"],
)
def test_who_resumes_a_session_of_a_client_ca_that_was_replaced_is_refused(
    secret: Secret, ca: trustme.CA, webhook: Webhook, tmp_path: Path, version: ssl.TLSVersion, options: int
) -> None:
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(tmp_path / "client-ca.crt")
    secret.issue(ca)
    caller = client_context(ca, old.issue_cert("kube-apiserver"))
    caller.minimum_version = caller.maximum_version = version
    caller.options |= options
    with serving(Certificate(Folder(secret.folder), POLL_SECONDS, tmp_path / "client-ca.crt"), webhook) as port:
        session = session_of_an_answer(port, caller)
        assert session
        new.cert_pem.write_to_path(tmp_path / "client-ca.crt")
        until(lambda: admitted(port, ca, new.issue_cert("kube-apiserver")))

        assert not session_of_an_answer(port, caller, session)


def session_of_an_answer(
    port: int, caller: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """The session of a call that was answered and ended well: OpenSSL forgets others. None where it was refused."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        with raw, caller.wrap_socket(raw, server_hostname="localhost", session=session) as call:
            call.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: call.recv(4096), b""))
            return call.session if answer.startswith(b"HTTP/1.1 200") else None
    except OSError:
        return None


def test_a_client_ca_that_is_not_there_fails_the_start_and_is_named(
    secret: Secret, ca: trustme.CA, tmp_path: Path
) -> None:
    secret.issue(ca)
    certificate = Certificate(Folder(secret.folder), POLL_SECONDS, tmp_path / "client-ca.crt")

    with pytest.raises(RuntimeError, match=r"client-ca\.crt"):
        certificate.wait(0.05)
