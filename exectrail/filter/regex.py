"""Regular expressions in linear time: a command line is its user's choice, and must not stall the node.

Python's own engine goes back and tries again, for a time that can grow exponentially with the text. RE2 does not
(https://github.com/google/re2/wiki/WhyRE2). Asking it costs more than a comparison, so that all expressions on one key
are searched in one pass, once per record at most.
"""

from collections.abc import Callable, Collection
from typing import Any

from exectrail.contracts.record import Record
from exectrail.filter.keys import Key
from exectrail.filter.positioned_json import Node, Wrong
from exectrail.filter.predicates import Asked, Test

LARGEST = 2000
"""Instructions of RE2 for all expressions of a filter set. Each byte of a text costs at worst some 10 ns for each."""


class Searches:
    """All regular expressions of a filter set."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._keys: dict[str, _KeySearch] = {}
        self._size = 0

    def test(self, key: Key, node: Node) -> Test:
        """Met where the expression matches somewhere in a text, or in any element of a list.

        Raises:
            Wrong: It is no expression of RE2, or all are too large together, or RE2 is not installed.

        """
        compiled = _compiled(node)
        self._size += compiled.programsize
        if self._size > LARGEST:
            size = f"{self._size} instructions of RE2 up to here, at most {LARGEST}"
            raise Wrong(node, f"the regular expressions are too large: {size}; shorten repetitions such as {{100}}")
        if key.name not in self._keys:
            search = self._keys[key.name] = _KeySearch(key)
            search.slot = self._asked.derived(search.matches)
        search = self._keys[key.name]
        self._asked.asked_fine += 1
        return self._asked.choice(search.slot, frozenset({search.add(node, compiled)}), many=True)

    def compile(self) -> None:
        """Make ready, after the last `test`."""
        for search in self._keys.values():
            search.compile()


class _KeySearch:
    """The expressions on one key, numbered from 1. Which of them match stands in `slot`, as if it were a field."""

    def __init__(self, key: Key) -> None:
        self.slot = 0
        self._name, self._get = key.name, key.get
        self._patterns: list[str] = []
        self._alone: list[Any] = []
        self._match: Callable[[bytes], list[int] | None]

    def add(self, node: Node, compiled: Any) -> int:  # noqa: ANN401 - RE2 has no types
        self._patterns.append(str(node.value))
        self._alone.append(compiled)
        return len(self._patterns)

    def compile(self) -> None:
        import re2  # type: ignore[import-untyped] # noqa: PLC0415 - see _compiled

        together = re2.Set.SearchSet(_quiet(re2))
        # Number 0 matches every text: where it does not, RE2 ran out of memory, and says so in no other way.
        for pattern in ("", *self._patterns):
            together.Add(pattern)
        together.Compile()
        self._match = together.Match

    def matches(self, record: Record) -> Collection[int]:
        """The numbers of the expressions that match, and perhaps 0."""
        value = self._get(record)
        if value is None:
            return ()
        if isinstance(value, str):
            return self._search(value)
        return frozenset().union(*map(self._search, value))

    def _search(self, text: str) -> Collection[int]:
        try:
            raw = text.encode()
        except UnicodeEncodeError:  # a lone surrogate
            raw = text.encode("utf-8", "backslashreplace")
        numbers = self._match(raw)
        if numbers and 0 in numbers:
            return numbers
        return [number for number, alone in enumerate(self._alone, 1) if alone.search(raw)]


def _compiled(node: Node) -> Any:  # noqa: ANN401 - RE2 has no types
    try:
        import re2  # noqa: PLC0415 - takes 3 MiB, and is not there on every machine that runs the command
    except ImportError:
        raise Wrong(node, "regular expressions need the package google-re2: pip install google-re2") from None
    try:
        compiled = re2.compile(str(node.value).encode(), _quiet(re2))
    except (re2.error, UnicodeEncodeError) as error:
        cause = error.args[0]
        text = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(error)
        raise Wrong(
            node, f"no regular expression of RE2: {text} (it has no lookaround and no backreferences)"
        ) from None
    return compiled


def _quiet(re2: Any) -> Any:  # noqa: ANN401 - RE2 has no types
    options = re2.Options()
    options.log_errors = False
    return options
