"""Arguments that several subcommands have, and how they are read."""

import argparse
import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exectrail.reading.choice import Choice

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
VERBS = ("exec", "attach", "portforward", "debug", "console", "break-glass")
OUTCOMES = ("completed", "failed", "open", "never-started", "not-recorded", "ambiguous", "lost")
KINDS = ("exec", "clone", "syscall", "exit", "session", "gap", "digest")
ORIGINS = ("session", "container", "probe", "hook", "untracked", "node")
"""As in the contracts, which `--help` must not wait for.

Of outcomes, `failed` is any result but exit code 0, and `open` is none.
"""


class Misused(Exception):
    """Arguments that mean nothing together; the message says what to do."""


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add which trails to read."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        default=[],  # else argparse says that it is required where another argument is missing
        type=not_empty,
        help="trail or folder of trails to read, - for standard input (default: the cluster)",
    )
    add_cluster(parser)
    add_release(parser)


def add_loki(parser: argparse.ArgumentParser) -> None:
    """Add that the trail is read from Loki."""
    parser.add_argument("--loki", metavar="URL", type=url, help="read the trail from this Loki, not from the cluster")
    parser.add_argument("--loki-org-id", metavar="TENANT", help="tenant of Loki to read")
    parser.add_argument("--loki-ca", metavar="FILE", help="CA file for Loki's certificate (default: the system's CAs)")
    parser.add_argument(
        "--loki-selector",
        metavar="LOGQL",
        help="streams of Loki that are the trail (default: as docs/tasks/log-stores.md)",
    )
    parser.add_argument(
        "--loki-days",
        metavar="N",
        type=number,
        default=30,
        help="days of Loki to read, without --since (default %(default)s)",
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add which cluster."""
    parser.add_argument("--context", metavar="NAME", type=not_empty, help="kubeconfig context, passed on to kubectl")
    parser.add_argument("--kubeconfig", metavar="PATH", type=not_empty, help="kubeconfig file, passed on to kubectl")


def add_release(parser: argparse.ArgumentParser, *also: str) -> None:
    """Add which release: by its namespace, the only one that is read."""
    words = "namespace of the release (default: where its pods are)"
    parser.add_argument(*also, "--release-namespace", metavar="NAME", type=not_empty, help=words)


def add_output(parser: argparse.ArgumentParser, *forms: str) -> None:
    """Add the output's form: the first one by default."""
    parser.add_argument("-o", "--output", choices=forms, default=forms[0], help="output format (default %(default)s)")


def add_time(parser: argparse.ArgumentParser) -> None:
    """Add from when to when, and how times are shown."""
    times = "a span before now (90s, 1h30m, 2d) or a time (2026-11-23, '2026-11-23 14:58', 14:58)"
    parser.add_argument("--since", metavar="TIME", type=moment, help=f"leave out what was earlier: {times}")
    parser.add_argument("--until", metavar="TIME", type=moment, help="leave out what was then or later, likewise")
    add_utc(parser)


def add_utc(parser: argparse.ArgumentParser) -> None:
    """Add whether times are in UTC."""
    parser.add_argument("--utc", action="store_true", help="read and show times in UTC, not in local time")


def add_user(parser: argparse.ArgumentParser) -> None:
    """Add who; may be given several times, for any of the values."""
    what = "only of this user; * stands for anything"
    parser.add_argument("--user", metavar="NAME", type=not_empty, action="append", help=what)


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add where; each option may be given several times, for any of the values."""
    for short, name, what in (
        (("-n",), "namespace", "in this namespace"),
        ((), "pod", "in this pod"),
        ((), "container", "in this container"),
        ((), "node", "on this node"),
    ):
        words = f"only {what}; * stands for anything"
        parser.add_argument(*short, f"--{name}", metavar="NAME", type=not_empty, action="append", help=words)


def add_origin(parser: argparse.ArgumentParser) -> None:
    """Add where processes come from."""
    parser.add_argument("--origin", action="append", choices=ORIGINS, help="only processes of this origin")


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add of which kind and with which end."""
    parser.add_argument("--verb", action="append", choices=VERBS, help="only requests of this kind")
    parser.add_argument(
        "--outcome",
        action="append",
        choices=OUTCOMES,
        help="only with this outcome; failed: with another result than 0; open: with no end recorded",
    )


def url(given: str) -> str:
    """The address of a server, without credentials.

    Raises:
        argparse.ArgumentTypeError: It is none, or has some.

    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - `--help` must not wait for it

    try:
        parts = urlsplit(given)
        _ = parts.port
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"it is no address: {error}") from None
    if parts.username is not None or parts.password is not None:
        raise argparse.ArgumentTypeError(
            "it has credentials, which everyone on this machine can see: set LOKI_USERNAME and LOKI_PASSWORD instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"{given!r} is no address such as https://loki.example.com:3100")
    return given


def number(given: str) -> int:
    """A number above 0.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    if not (given.isascii() and given.isdecimal()) or int(given) == 0:
        raise argparse.ArgumentTypeError(f"{given!r} is no number above 0")
    return int(given)


def not_empty(given: str) -> str:
    """What a person means, and no unset variable of the shell, which would mean something else.

    Raises:
        argparse.ArgumentTypeError: It is empty.

    """
    if not given.strip():
        raise argparse.ArgumentTypeError("it is empty: is a variable of the shell unset?")
    return given


def uid(given: str) -> str:
    """A session's UID, or the beginning of it.

    Raises:
        argparse.ArgumentTypeError: It is empty.

    """
    return not_empty(given).strip()


def duration(text: str) -> timedelta:
    """A span of time such as `90s`, `1h`, `1h30m` or `2d`.

    Raises:
        argparse.ArgumentTypeError: It is none.

    """
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: give a number with s, m, h, d or w, e.g. 1h30m")
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is too long") from None


def moment(text: str) -> timedelta | datetime:
    """A span before now, or a time: of today where it has no date, without a zone where it has none.

    Raises:
        argparse.ArgumentTypeError: It is neither.

    """
    if re.fullmatch(r"(\d+[smhdw])+", text):
        return duration(text)
    try:
        if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", text):
            return datetime.combine(date.min, time.fromisoformat(text if text[2] == ":" else f"0{text}"))
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: give a span before now in s, m, h, d or w, such as 1h30m, or a time such as"
            " 2026-11-23, '2026-11-23 14:58', 2026-11-23T14:58:03Z or 14:58"
        ) from None


def resolved(given: timedelta | datetime | None, now: datetime, *, utc: bool) -> datetime | None:
    """The point in time that is meant, in UTC.

    Args:
        given: A span before now, or a time; of today where its year is 1.
        now: The present, in UTC.
        utc: Whether a time without a zone is in UTC; else it is local.

    Raises:
        Misused: The calendar has no such time in UTC.

    """
    if given is None:
        return None
    if isinstance(given, timedelta):
        return now - given if given < now - _BEGINNING else _BEGINNING
    if given.year == 1:
        today = now if utc else now.astimezone()
        given = datetime.combine(today.date(), given.time())
    try:
        if given.tzinfo is None:
            given = given.replace(tzinfo=UTC) if utc else given.astimezone()
        return given.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Misused(f"{given} is beyond the calendar: --since and --until take the years 2 to 9998") from None


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def choice(arguments: argparse.Namespace, now: datetime) -> "Choice":
    """What the options of `add_user`, `add_target`, `add_origin`, `add_request` and `add_time` choose.

    Raises:
        Misused: No time can be in between, or one is none; or no process can be of such an origin and of a user.

    """
    from exectrail.reading.choice import Choice, pattern  # noqa: PLC0415 - `--help` must not wait for it

    since = resolved(arguments.since, now, utc=arguments.utc)
    until = resolved(arguments.until, now, utc=arguments.utc)
    if since and until and until <= since:
        raise Misused(f"nothing is in between: --until is {_said(until)}, and --since {_said(since)}")

    origins = getattr(arguments, "origin", None) or ()
    if origins and "session" not in origins and getattr(arguments, "user", None):
        named = " or ".join(origins)
        raise Misused(f"processes of origin {named} have no user: leave out --user, or use --pod, --node or --since")

    def patterns(name: str) -> "tuple[re.Pattern[str], ...]":
        return tuple(pattern(each) for each in getattr(arguments, name, None) or ())

    return Choice(
        user=patterns("user"),
        namespace=patterns("namespace"),
        pod=patterns("pod"),
        container=patterns("container"),
        node=patterns("node"),
        verb=tuple(getattr(arguments, "verb", None) or ()),
        outcome=tuple(getattr(arguments, "outcome", None) or ()),
        origin=tuple(origins),
        since=since,
        until=until,
    )
