"""`--self-managed-secret`: from the command line to what the API server trusts."""

import ssl
from datetime import timedelta

import pytest

from tests.unit.waiting import until
from tests.unit.webhook.small_api import SmallApi
from tests.unit.webhook.test_issuer import CONFIGURATION, NAME, SECRET, configuration, trusted
from webhook.__main__ import _certificate
from webhook.certificates.pair import Pair
from webhook.certificates.pem import blocks
from webhook.certificates.x509 import examine
from webhook.options import options, parser
from webhook.serving.tls import Certificate

ARGUMENTS = ["--namespace", "exectrail", "--self-managed-secret", "own", "--webhook-configuration", "exectrail"]


def test_from_an_empty_secret_it_serves_with_what_the_api_server_trusts() -> None:
    api = SmallApi()
    api.put(SECRET, {"type": "Opaque"})
    api.put(CONFIGURATION, configuration(b"", b""))
    asked = parser().parse_args(
        [*ARGUMENTS, "--server-name", NAME, "--tls-duration", "48h", "--tls-renew-before", "12h"]
    )

    certificate, conditions = _certificate(asked, api)
    certificate.wait(30)
    (condition,) = conditions.values()
    until(condition)

    assert certificate.valid
    data = api.data(SECRET)
    validity = examine(Pair(data["tls.crt"], data["tls.key"]), NAME)
    assert timedelta(hours=48) <= validity.not_after - validity.not_before < timedelta(hours=49)
    assert trusted(api) == [set(blocks(data["ca.crt"]))] * 2
    handshake(certificate, data["ca.crt"])


def handshake(certificate: Certificate, ca: bytes) -> None:
    """Shake hands as the API server does; raises where it would not."""
    client = ssl.create_default_context(cadata=ca.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=NAME)
    other = certificate.context().wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert one.getpeercert()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--self-managed-secret", "own", "--server-name", NAME], "needs --server-name and --webhook-configuration"),
        (["--self-managed-secret", "own", "--webhook-configuration", "x"], "needs --server-name and"),
        (["--path-secret", "path"], "--path-secret needs --webhook-configuration"),
        (["--tls-duration", "720h"], "--tls-renew-before must be shorter than --tls-duration"),
        (["--tls-ca-duration", "10000h"], "--tls-ca-renew-before must be shorter than --tls-ca-duration"),
        (["--tls-ca-renew-before", "8759h"], "--tls-ca-renew-before must not be shorter than --tls-duration"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["webhook", "--namespace", "exectrail", *arguments])
    with pytest.raises(SystemExit):
        options()

    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["8760", "0h", "1.5h", "365d", ""])
def test_a_duration_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--namespace", "exectrail", "--tls-duration", text])

    assert "is no number of hours" in capsys.readouterr().err
