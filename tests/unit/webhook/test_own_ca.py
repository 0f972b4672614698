"""What is issued when, and whom the API server is to trust: decided from a state and a time alone."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from webhook.certificates.own_ca import plan
from webhook.certificates.pair import Pair
from webhook.certificates.pem import blocks
from webhook.certificates.plan import Plan, Policy, State
from webhook.certificates.x509 import examine

NAME = "exectrail-webhook.exectrail.svc"
POLICY = Policy(NAME)
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def issued(at: datetime = NOW, policy: Policy = POLICY) -> dict[str, bytes]:
    """A Secret as it is after the first start, at this time."""
    return plan(State(at, {}, []), policy).changes


SECRET = issued()


def decided(
    at: timedelta = MINUTE,
    secret: dict[str, bytes] = SECRET,
    bundles: list[bytes] | None = None,
    trusted: timedelta | None = DAY,
    recent: list[bytes] | None = None,
) -> Plan:
    """What is to be done so long after the first start, by default where all is well."""
    found = [secret.get("ca.crt", b"")] * 4 if bundles is None else bundles
    return plan(State(NOW + at, secret, found, trusted, recent or []), POLICY)


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def test_at_the_first_start_there_are_a_ca_and_a_certificate_by_it() -> None:
    ca, leaf = certificate(SECRET["ca.crt"]), certificate(SECRET["tls.crt"])

    leaf.verify_directly_issued_by(ca)
    assert examine(Pair(SECRET["tls.crt"], SECRET["tls.key"]), NAME).not_after == NOW + POLICY.duration
    assert ca.not_valid_after_utc == NOW + POLICY.ca_duration
    for each in (ca, leaf):
        key = each.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert each.not_valid_before_utc == NOW - 5 * MINUTE
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME, "exectrail-webhook.exectrail", "exectrail-webhook"]
    assert blocks(SECRET["tls.crt"])[1:] == blocks(SECRET["ca.crt"])


def test_the_ca_signs_servers_and_nothing_above_them() -> None:
    ca, leaf = certificate(SECRET["ca.crt"]), certificate(SECRET["tls.crt"])

    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


ANOTHER = issued()
AHEAD = plan(State(NOW + 30 * DAY, {key: SECRET[key] for key in ("ca.crt", "ca.key")}, []), POLICY).changes
"""A certificate by the same CA, made while a clock was ahead."""
CA, LEAF = {"ca.crt", "ca.key"}, {"tls.crt", "tls.key"}


@pytest.mark.parametrize(
    ("secret", "at", "trusted", "changed"),
    [
        # what is there is good
        (SECRET, MINUTE, DAY, set()),
        (SECRET, POLICY.duration - POLICY.renew_before - MINUTE, DAY, set()),
        # it ends
        (SECRET, POLICY.duration - POLICY.renew_before, DAY, LEAF),
        (SECRET, POLICY.duration + MINUTE, None, LEAF),
        (issued(NOW + 8 * 365 * DAY - DAY) | {key: SECRET[key] for key in CA}, 8 * 365 * DAY, DAY, CA),
        (SECRET, POLICY.ca_duration, DAY, CA | LEAF),
        # made while a clock was ahead: not valid yet
        (issued(NOW + 30 * DAY), MINUTE, DAY, CA | LEAF),
        (SECRET | {key: AHEAD[key] for key in LEAF}, MINUTE, DAY, LEAF),
        # something is not there, or cannot be used
        ({}, MINUTE, None, CA | LEAF),
        ({key: SECRET[key] for key in CA}, MINUTE, DAY, LEAF),
        ({key: SECRET[key] for key in LEAF}, MINUTE, None, CA),
        (SECRET | {"ca.key": b"no key"}, MINUTE, DAY, CA),
        (SECRET | {"ca.key": ANOTHER["ca.key"]}, MINUTE, DAY, CA),
        (SECRET | {"ca.crt": b""}, MINUTE, None, CA),
        (SECRET | {"tls.key": ANOTHER["tls.key"]}, MINUTE, DAY, LEAF),
        (SECRET | {"tls.crt": blocks(SECRET["tls.crt"])[0]}, MINUTE, DAY, LEAF),
        (SECRET | {key: issued(policy=Policy("a.b.svc"))[key] for key in LEAF}, MINUTE, DAY, LEAF),
        # another CA signs, and is trusted so long
        (SECRET | {key: ANOTHER[key] for key in CA}, MINUTE, None, set()),
        (SECRET | {key: ANOTHER[key] for key in CA}, MINUTE, 0.9 * MINUTE, set()),
        (SECRET | {key: ANOTHER[key] for key in CA}, MINUTE, MINUTE, LEAF),
        (SECRET | {key: ANOTHER[key] for key in CA}, POLICY.duration, None, LEAF),
    ],
)
def test_what_is_made_anew_follows_from_the_secret_the_time_and_the_trust(
    secret: dict[str, bytes], at: timedelta, trusted: timedelta | None, changed: set[str]
) -> None:
    due = decided(at, secret, trusted=trusted)

    assert set(due.changes) == changed
    assert bool(due.why) == bool(changed)


OLD, FOREIGN = SECRET["ca.crt"], ANOTHER["ca.crt"]
ROTATED = SECRET | {key: ANOTHER[key] for key in CA}
"""A new CA, and what serves is by the old one still."""
SOON, LATER = MINUTE, timedelta(hours=1)


@pytest.mark.parametrize(
    ("secret", "at", "bundle", "recent", "wanted"),
    [
        (SECRET, SOON, b"", [], [OLD]),
        (SECRET, LATER, b"blanked", [], [OLD]),
        # somebody else's CA: while an update from another mode may be under way
        (SECRET, SOON, FOREIGN, [], [OLD, FOREIGN]),
        (SECRET, LATER, FOREIGN + OLD, [FOREIGN], [OLD, FOREIGN]),
        (SECRET, LATER, FOREIGN + OLD, [], [OLD]),
        # the new CA is trusted before it signs, the old one as long as something serves by it
        (ROTATED, LATER, OLD, [], [FOREIGN, OLD]),
        (ROTATED, LATER, b"", [], [FOREIGN, OLD]),
        # nothing to serve with: whoever may serve still is trusted
        ({key: ANOTHER[key] for key in CA}, LATER, OLD, [], [FOREIGN, OLD]),
        # what has ended
        (SECRET, LATER, issued(NOW - POLICY.ca_duration)["ca.crt"], [], [OLD]),
    ],
)
def test_whom_to_trust_follows_from_who_signs_and_who_has_signed(
    secret: dict[str, bytes], at: timedelta, bundle: bytes, recent: list[bytes], wanted: list[bytes]
) -> None:
    due = decided(at, secret, [bundle] * 2, None, recent)

    assert blocks(due.bundle) == wanted


@pytest.mark.parametrize(
    ("secret", "at", "bundle", "seconds"),
    [
        (SECRET, DAY, OLD, 3600),
        (SECRET, POLICY.duration - POLICY.renew_before - MINUTE, OLD, 60),
        (ROTATED, DAY, OLD + FOREIGN, 15),
        (SECRET, MINUTE, OLD + FOREIGN, 15),
    ],
)
def test_it_asks_again_when_something_is_due(
    secret: dict[str, bytes], at: timedelta, bundle: bytes, seconds: int
) -> None:
    assert decided(at, secret, [bundle], None).again == timedelta(seconds=seconds)


class World:
    """A Secret, a configuration, and what each replica and each API server has heard of them."""

    policy = Policy(NAME, 40 * DAY, 10 * DAY, 300 * DAY, 50 * DAY)

    def __init__(self) -> None:
        self.now = NOW
        self.secret = issued(NOW, self.policy)
        self.bundle = self.secret["ca.crt"]
        self.replicas = [Replica(self) for _ in range(3)]
        self.servers = [self.bundle] * 2
        self.cas = {self.bundle}

    def check(self) -> None:
        """Every API server trusts every replica."""
        for leaf in (certificate(each.secret["tls.crt"]) for each in self.replicas):
            assert leaf.not_valid_before_utc <= self.now < leaf.not_valid_after_utc
            for server in self.servers:
                (ca,) = [ca for ca in map(certificate, blocks(server)) if ca.subject == leaf.issuer]
                leaf.verify_directly_issued_by(ca)


class Replica:
    """One that serves with the last certificate that it saw, and acts on what it saw."""

    def __init__(self, world: World) -> None:
        self.world, self.secret, self.bundle = world, world.secret, world.bundle
        self.since: dict[bytes, datetime] = {}

    def hear(self) -> None:
        self.secret, self.bundle = self.world.secret, self.world.bundle

    def act(self) -> None:
        """Write what is due, where nobody else has written since."""
        world = self.world
        self.since = {ca: self.since.get(ca, world.now) for ca in blocks(self.bundle)}
        active = self.secret.get("ca.crt", b"")
        trusted = world.now - self.since[active] if active in self.since else None
        recent = [ca for ca, since in self.since.items() if world.now - since < world.policy.keep]
        due = plan(State(world.now, self.secret, [self.bundle], trusted, recent), world.policy)
        if due.changes and self.secret is world.secret:
            self.secret = world.secret = world.secret | due.changes
        elif not due.changes and self.bundle is world.bundle:
            self.bundle = world.bundle = due.bundle


@pytest.mark.parametrize("seed", range(5))
def test_no_replica_ever_serves_what_an_api_server_does_not_trust(seed: int) -> None:
    world, choose = World(), random.Random(seed)  # noqa: S311 - no secret
    for _ in range(300):
        seconds = choose.choice([0.2, 0.2, 5, 30, 60, 900, 86400, 4 * 86400])
        world.now += timedelta(seconds=seconds)
        late = seconds < 1  # nobody is behind by more than some seconds
        world.servers = [each if late and choose.random() < 0.3 else world.bundle for each in world.servers]
        if choose.random() < 0.02:
            world.secret = {key: value for key, value in world.secret.items() if not key.startswith("ca.")}
        for replica in world.replicas:
            if not (late and choose.random() < 0.3):
                replica.hear()
            replica.act()
            world.check()
        world.cas |= {world.secret["ca.crt"]} if "ca.crt" in world.secret else set()

    assert len(world.cas) > 3
    assert len(blocks(world.bundle)) <= 4
