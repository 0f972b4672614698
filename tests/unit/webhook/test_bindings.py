"""The bindings of a namespace are in their order after each change, and a change looks at few of them."""

import random

import pytest

from exectrail.contracts.meta import ObjectMeta
from webhook.cluster.bindings import Bindings
from webhook.reviews.profile_bindings import Binding, BindingSpec, ProfileBinding, ProfileRef, binding_of, in_order


def found(name: str, image: str) -> ProfileBinding:
    """A ProfileBinding of the API; one without an image is none."""
    return ProfileBinding(
        ObjectMeta(name=name, namespace="shop"), BindingSpec(ProfileRef("SeccompProfile", "p"), image)
    )


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_changes_and_goes_the_order_is_that_of_all_sorted(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311 - no secret
    bindings, there = Bindings(), dict[str, ProfileBinding]()
    for _ in range(200):
        name, image = f"b{chosen.randrange(20)}", chosen.choice(["nginx", "nginx:*", "nginx@sha256:1", "*", "", "gone"])
        old, new = there.pop(name, None), found(name, image)
        if image != "gone":
            there[name] = new
        if old or name in there:
            bindings.changed(old, there.get(name))
        every = (binding_of(each) for each in there.values())
        assert bindings.of("shop") == in_order(each for each in every if each)
    assert bindings.of("desk") == ()


def test_a_list_of_thousands_of_bindings_is_not_sorted_anew_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    rank = Binding.rank

    def counted(binding: Binding) -> tuple[int, bool, str]:
        nonlocal looks
        looks += 1
        return rank(binding)

    monkeypatch.setattr(Binding, "rank", counted)
    bindings = Bindings()
    for number in range(2000):
        bindings.changed(None, found(f"b{number:04}", "nginx:*"))

    assert [each.name for each in bindings.of("shop")] == [f"b{number:04}" for number in range(2000)]
    assert looks < 2000 * 20
