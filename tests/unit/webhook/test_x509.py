"""A pair is refused for each reason for which the API server would refuse it, and for no other."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
import trustme
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.webhook.pairs import NAME, bad, issued, made
from webhook.certificates import apart
from webhook.certificates import pair as from_outside
from webhook.certificates.pair import Pair, Reason, Refused, Validity
from webhook.certificates.x509 import examine

CA = trustme.CA()
BAD = bad(CA)
NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    ("reason", "pair", "message"),
    [
        pytest.param(reason, pair, message, id=f"{reason}-{at}")
        for reason, pairs in BAD.items()
        for at, (pair, message) in enumerate(pairs)
    ],
)
def test_a_bad_pair_is_refused_with_its_reason(reason: Reason, pair: Pair, message: str) -> None:
    with pytest.raises(Refused) as refused:
        examine(pair, NAME).check(NOW)

    assert refused.value.reason == reason
    assert message in str(refused.value)


def test_every_reason_that_a_pair_can_give_is_tried() -> None:
    assert {*BAD, "missing"} == set(get_args(Reason))


@pytest.mark.parametrize("key_type", list(trustme.KeyType), ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", [NAME, "EXECTRAIL-webhook.exectrail.svc", "*.exectrail.svc"])
def test_a_good_pair_says_until_when(name: str, key_type: trustme.KeyType) -> None:
    end = datetime(2075, 6, 7, 8, 9, 10, tzinfo=UTC)

    assert examine(issued(CA, name, key_type=key_type, not_after=end), NAME).not_after == end


@pytest.mark.parametrize(
    "name", ["*.svc", "*.exectrail-webhook.exectrail.svc", "*", "*exectrail-webhook.exectrail.svc"]
)
def test_a_wildcard_stands_for_one_label(name: str) -> None:
    with pytest.raises(Refused, match="is not for"):
        examine(made(name), NAME)


@pytest.mark.parametrize("usage", [None, ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
def test_a_certificate_that_does_not_say_for_what_is_for_servers(usage: ObjectIdentifier | None) -> None:
    assert examine(made(NAME, usage=usage), NAME).not_after > NOW


@pytest.mark.parametrize(
    ("at", "reason"), [(-1, "not-yet-valid"), (0, None), (1799, None), (1800, "expired"), (1801, "expired")]
)
def test_a_certificate_is_valid_from_its_first_second_to_its_last(at: int, reason: Reason | None) -> None:
    validity = Validity(NOW, NOW + timedelta(seconds=1800))
    refused = None
    try:
        validity.check(NOW + timedelta(seconds=at))
    except Refused as error:
        refused = error.reason

    assert refused == reason


def test_without_a_name_any_will_do() -> None:
    assert examine(issued(CA, "elsewhere.example"), "").not_after > NOW


@given(st.binary(), st.binary())
def test_whatever_the_files_have_the_answer_is_a_refusal(chain: bytes, key: bytes) -> None:
    good = issued(CA, NAME)
    for pair in (Pair(chain, key), Pair(good.chain, key), Pair(chain, good.key), Pair(good.chain[:-30] + chain, key)):
        with pytest.raises(Refused):
            examine(pair, NAME)


def test_another_process_gives_the_same_answers() -> None:
    good, (bad_one, _) = issued(CA, NAME), BAD["encrypted"][0]

    assert from_outside.examine(good, NAME) == examine(good, NAME)
    with pytest.raises(Refused, match="encrypted") as refused:
        from_outside.examine(bad_one, NAME)
    assert refused.value.reason == "encrypted"


def test_a_fault_in_the_other_process_is_told() -> None:
    with pytest.raises(apart.Failed, match=r"webhook\.certificates\.x509 failed with code 1: .*JSON is malformed"):
        apart.call("webhook.certificates.x509", b"no JSON")


def test_the_webhook_itself_never_pays_for_cryptography() -> None:
    program = "import sys, webhook.__main__; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
