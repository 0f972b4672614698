"""One JSON object per log line on stderr, the same keys in every part: `time`, `level`, `logger`, `message`.

What a call passes in `extra=` follows as keys of its own, so that a log store can search by them. Audit records do
not come this way: they have their own writer.
"""

import json
import logging
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def setup(level: str = "info") -> None:
    """Log to stderr from `level` on, replacing whatever was set up before."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


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
