"""Label selectors of the Kubernetes API (meta/v1 LabelSelector): which objects are meant, by their labels."""

from collections.abc import Mapping

from msgspec import Struct


class Requirement(Struct, frozen=True):
    """One condition on one label (LabelSelectorRequirement)."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class LabelSelector(Struct, frozen=True, rename="camel"):
    """All conditions of both members must hold; without any, every object is meant."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None

    @property
    def empty(self) -> bool:
        """Whether it means every object."""
        return not self.match_labels and not self.match_expressions

    def mistake(self) -> str | None:
        """What is wrong with it; such a selector means no object. The API server checks none in custom resources."""
        for each in self.match_expressions or []:
            if wrong := _mistake(each):
                return f"matchExpressions: {wrong}"
        return None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it means an object with these labels; to be asked only where there is no `mistake`."""
        return all(labels.get(key) == value for key, value in (self.match_labels or {}).items()) and all(
            _holds(each, labels) for each in self.match_expressions or []
        )


def _mistake(each: Requirement) -> str | None:
    if not each.key:
        return "a condition without a key"
    match each.operator, bool(each.values):
        case ("In" | "NotIn") as operator, False:
            return f"{operator} on {each.key!r:.60} needs values"
        case ("Exists" | "DoesNotExist") as operator, True:
            return f"{operator} on {each.key!r:.60} takes no values"
        case "In" | "NotIn" | "Exists" | "DoesNotExist", _:
            return None
    return f"no operator {each.operator!r:.40}; known: In, NotIn, Exists, DoesNotExist"


def _holds(each: Requirement, labels: Mapping[str, str]) -> bool:
    match each.operator:
        case "In":
            return labels.get(each.key) in (each.values or [])
        case "NotIn":  # also without the label, as in the API
            return labels.get(each.key) not in (each.values or [])
        case "Exists":
            return each.key in labels
        case "DoesNotExist":
            return each.key not in labels
    return False
