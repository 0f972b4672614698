"""All areas, and the findings in the order in which they are to be read."""

from collections.abc import Collection

from msgspec import Struct

from exectrail.doctor import certificate, clocks, losses, nodes, pods, release, requests, webhook
from exectrail.doctor.finding import SEVERITIES, Checked, NotChecked
from exectrail.doctor.seen import Seen

_AREAS = (release, nodes, webhook, pods, certificate, clocks, losses, requests)


class Diagnosis(Struct, frozen=True):
    """What the doctor says of a cluster."""

    areas: list[Checked]
    """Those with the worst findings first; in each the worst first."""
    not_checked: list[NotChecked]
    ignored: int = 0
    """Findings that the user knows."""

    @property
    def covered(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return all(each.severity == "notice" for area in self.areas for each in area.findings)


def diagnosis(seen: Seen, ignore: Collection[str] = ()) -> Diagnosis:
    """Look at all areas, and leave out findings of these names."""
    areas = [area.check(seen) for area in _AREAS]
    kept = [
        Checked(
            area.area,
            area.summary,
            sorted(
                (each for each in area.findings if each.name not in ignore),
                key=lambda each: SEVERITIES.index(each.severity),
            ),
        )
        for area in areas
    ]
    ignored = sum(len(area.findings) for area in areas) - sum(len(area.findings) for area in kept)
    return Diagnosis(sorted(kept, key=_worst), list(seen.not_checked()), ignored)


def _worst(area: Checked) -> int:
    return min((SEVERITIES.index(each.severity) for each in area.findings), default=len(SEVERITIES))
