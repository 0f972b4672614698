"""What a filter set did to a trail."""

from msgspec import Struct

from exectrail.contracts.record import Record


class RuleReport(Struct):
    """What one rule did; `sample` has the first records that it dropped."""

    rule: int
    priority: int
    level: str
    hits: int = 0
    sample: list[Record] = []


class FilterReport(Struct):
    """What a filter set did to a trail: `kept` + `dropped` is how many records it has.

    Of those kept, `unmatched` met no rule, and `unfiltered` are of kinds that no filter sees.
    """

    kept: int = 0
    dropped: int = 0
    unmatched: int = 0
    unfiltered: int = 0
    rules: list[RuleReport] = []
    """In the order in which they are tried."""
