"""One JSON object per log line on stderr, the same keys in every part: `time`, `level`, `logger`, `message`.

What a call passes in `extra=` follows as keys of its own, so that a log store can search by them. Audit records do
not come this way: they have their own writer.
"""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def setup(level: str = "info") -> None:
    """Log to stderr from `level` on, replacing whatever was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class Level:
    """The level that `setup` was given, or the word in a file that stands in for it while it is there.

    A file that cannot be read or holds no level changes nothing, which the log says once.
    """

    def __init__(self, level: str, instead: Path | None) -> None:
        self._given = self._used = level
        self._instead = instead
        self._problem = ""

    def refresh(self) -> None:
        """Log from the level on that counts now."""
        try:
            level = self._read()
        except (OSError, ValueError) as error:
            if self._problem != str(error):
                self._problem = str(error)
                log.error("the log level stays at %s: %s", self._used, error)
            return
        self._problem = ""
        if level != self._used:
            self._used = level
            logging.getLogger().setLevel(level.upper())
            log.info("logs from level %s on", level)

    def _read(self) -> str:
        if not self._instead:
            return self._given
        try:
            level = self._instead.read_text().strip()
        except FileNotFoundError:
            return self._given
        if level not in LEVELS:
            raise ValueError(f"{self._instead} holds {level[:20]!r}, must be {', '.join(LEVELS[:-1])} or {LEVELS[-1]}")
        return level


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON; line breaks in values cannot forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline. Time is UTC with milliseconds (RFC 3339)."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
