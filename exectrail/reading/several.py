"""The records of several sessions, read in one pass over the trails and handed out session by session.

They wait in a file without a name, so that memory holds one session, not all of them.
"""

from array import array
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO

from exectrail.contracts.record import decode
from exectrail.reading import trail
from exectrail.reading.finding import Found
from exectrail.reading.gaps import Gaps
from exectrail.reading.kubectl import KubectlError
from exectrail.reading.late import earlier
from exectrail.reading.report import Report
from exectrail.reading.summary import LATE, Summary, from_records


class NoRoom(Exception):
    """Records cannot be kept meanwhile; the message says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"no room for records in a temporary file (TMPDIR says where): {error.strerror or error}")


def temporary() -> IO[bytes]:
    """A file without a name.

    Raises:
        NoRoom: There can be none.

    """
    try:
        return TemporaryFile()
    except OSError as error:
        raise NoRoom(error) from error


class Several:
    """Collects the records of sessions with these UIDs; what could not be read is in the report.

    Raises:
        NoRoom: They cannot be kept.

    """

    def __init__(self, uids: Collection[str], report: Report) -> None:
        self._report = report
        self._own = {uid: array("Q") for uid in uids}
        """Where in the file the records of each session begin."""
        self._ambiguous = {uid: array("Q") for uid in uids}
        self.late: dict[tuple[str, str], str] = {}
        """Entries whose request showed late, by node and key, and its UID: what they did before may be under no UID."""
        self._gaps = Gaps()
        self._file = temporary()
        self._size = 0

    def read(self, sources: Iterable[trail.Source]) -> bool:
        """Read all of these trails; whether each could be read to its end."""
        before = len(self._report.problems)
        for source in sources:
            try:
                for line in trail.lines(source, trail.SELECTIONS["sessions"], self._report):
                    self._take(line)
            except trail.Unreadable as error:
                self._report.problems.append(str(error))
            except KubectlError as error:
                self._report.problems.append(f"{source.name}: {error}")
            else:
                self._report.sources += 1
        return len(self._report.problems) == before

    def read_earlier(self, sources: Iterable[trail.Source]) -> bool:
        """Read of these trails what the late entries did before; whether each could be read to its end."""
        again = Report()  # the trails were read before
        for record, line in earlier(self.late, sources, again):
            self._keep(line, self._own.get(self.late[record.node.name, record.entry_key or ""]))
        self._report.problems += [each for each in again.problems if each not in self._report.problems]
        return not again.problems

    def _take(self, line: bytes) -> None:
        record = trail.understood(line, self._report)
        if record is None:
            return
        if record.kind == "gap":
            self._gaps.add(record)
        elif record.request_uid:
            self._keep(line, self._own.get(record.request_uid))
            if record.reason == LATE and record.entry_key and record.request_uid in self._own:
                self.late[record.node.name, record.entry_key] = record.request_uid
        elif record.origin == "session":
            for uid in record.candidates or ():
                self._keep(line, self._ambiguous.get(uid))

    def _keep(self, line: bytes, at: "array[int] | None") -> None:
        if at is None:
            return
        at.append(self._size)
        try:
            self._size += self._file.write(line + b"\n")
        except OSError as error:
            raise NoRoom(error) from error

    def found(self, summary: Summary) -> Found:
        """One of the sessions, with its records; `summary` fills in what they do not say."""
        uid = summary.request_uid
        own, ambiguous = self._lines(self._own[uid]), self._lines(self._ambiguous[uid])
        found = Found(summary, own, ambiguous, completed=summary.outcome == "completed")
        records = found.records
        if records:
            found.summary = from_records(uid, records)
            if summary.state != "forged":  # one that only claims the UID has nothing to say of the session
                found.summary = found.summary.filled(summary)
            gaps, found.gaps_dropped = self._gaps.during(records), self._gaps.dropped_during(records)
            found.gaps = list({(gap.node.name, gap.seq, gap.audit_id): gap for gap in gaps}.values())
        return found

    def _lines(self, begins: "array[int]") -> list[bytes]:
        """Lines of the file; of records that were read twice, as from a copy of a trail, the first."""
        lines: dict[tuple[str, int, str], bytes] = {}
        for begin in begins:
            self._file.seek(begin)
            line = self._file.readline().removesuffix(b"\n")
            record = decode(line)
            lines.setdefault((record.node.name, record.seq, record.audit_id), line)
        return list(lines.values())

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def copied(source: trail.Source, into: IO[bytes]) -> trail.Source:
    """A source that can be read once only, copied into a file so that it can be read again.

    Raises:
        Unreadable: It cannot be opened, read or copied.

    """

    def reopen() -> AbstractContextManager[IO[bytes]]:
        into.seek(0)
        return nullcontext(into)

    try:
        with source.open() as stream:
            copyfileobj(stream, into)
    except OSError as error:
        raise trail.Unreadable(f"{source.name}: {error.strerror or error}") from error
    return trail.Source(source.name, reopen, again=True)
