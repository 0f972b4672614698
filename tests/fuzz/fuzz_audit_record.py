"""A fuzz target for what reads bytes that a container has a say in: the parser of audit records, and of logs.

    make fuzz FUZZ_SECONDS=600

Atheris (https://github.com/google/atheris) is guided by coverage; `build/fuzz` is its corpus, which begins with the
records that the tests know.
`tests/unit/enricher/test_audit_record_mutations.py` runs the same check for a second.
"""

import importlib
import json
import re
import sys
from pathlib import Path

from enricher.audit import parser
from enricher.audit.log_lines import read_line

_KNOWN = Path(__file__).parents[1] / "unit/enricher/data/audit_records.json"
_PID = re.compile(rb" pid=(\d+) comm=")


def check(data: bytes) -> bool:
    """Whether this is a record; fails if it is read as anything but what it says."""
    try:
        record = parser.parse(data)
    except parser.Unparsable:
        return False
    assert b"\n" not in data
    assert data.startswith(b"audit(%d.%03d:" % divmod(record.time, 1000))
    assert record.pid in {int(pid) for pid in _PID.findall(data)}
    assert data.endswith(b" code=0x%x" % record.code) or b" code=0x0" in data
    assert record.comm is None or b'"%b"' % record.comm in data or record.comm.hex().upper().encode() in data
    line = read_line(b"node=n type=SECCOMP msg=" + data)
    assert line is None or line.text == data.partition(b"\x1d")[0].rstrip(b" \r\n")
    return True


def main() -> None:
    """Fuzz until something fails."""
    atheris = importlib.import_module("atheris")  # an optional tool
    _seed(Path(sys.argv[-1]))
    with atheris.instrument_imports(include=[parser.__name__]):
        importlib.reload(parser)
    atheris.enabled_hooks.add("RegEx")
    atheris.Setup(sys.argv, _ignore_result)
    atheris.Fuzz()


def _seed(corpus: Path) -> None:
    for number, known in enumerate(json.loads(_KNOWN.read_text())):
        (corpus / f"known-{number}").write_text(known["text"])


def _ignore_result(data: bytes) -> None:
    check(data)


if __name__ == "__main__":
    main()
