"""Numbers, times and spans in words."""

from datetime import UTC, datetime, timedelta


def moment(stamp: str) -> datetime | None:
    """A time in RFC 3339; None where it is none."""
    try:
        read = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def age(span: timedelta) -> str:
    """A span as a person says it: `40 s`, `5 min`, `3 h`, `12 d`."""
    seconds = int(abs(span).total_seconds())
    for most, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < most:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86_400} d"


def stamp(time: datetime) -> str:
    """A time as the API writes it."""
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")
