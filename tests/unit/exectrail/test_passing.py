"""Which refusals of the API server pass, so that nothing is given up for them."""

import pytest

from exectrail.k8s.client import ApiError
from exectrail.k8s.passing import is_passing, is_there

MAY_NOT = (
    'auditsessions.exectrail.io is forbidden: User "system:serviceaccount:exectrail:exectrail-webhook" cannot create '
    'resource "auditsessions" in API group "exectrail.io" in the namespace "exectrail"'
)
FULL = 'auditsessions.exectrail.io "s1" is forbidden: exceeded quota: sessions, requested: 1, used: 9, limited: 9'
OVERTAKEN = 'Operation cannot be fulfilled on resourcequotas "sessions": the object has been modified'
POLICY = "auditsessions.exectrail.io \"s1\" is forbidden: ValidatingAdmissionPolicy 'own' denied request: not so"


@pytest.mark.parametrize(
    "error",
    [
        *(ApiError(status, "", "later") for status in (0, 401, 429, 500, 503)),
        ApiError(403, "Forbidden", MAY_NOT),
        ApiError(403, "Forbidden", FULL),
        ApiError(409, "Conflict", OVERTAKEN),
    ],
    ids=lambda error: f"{error.status} {error.reason} {str(error)[:40]}",
)
def test_the_servers_state_passes(error: ApiError) -> None:
    assert is_passing(error)
    assert not is_there(error)


@pytest.mark.parametrize(
    "error",
    [ApiError(403, "Forbidden", POLICY), ApiError(404, "NotFound", "gone"), ApiError(422, "Invalid", "spec.user")],
    ids=lambda error: error.reason,
)
def test_what_is_wrong_with_the_object_does_not_pass(error: ApiError) -> None:
    assert not is_passing(error)
    assert not is_there(error)


def test_a_name_that_is_taken_was_taken_by_an_earlier_try() -> None:
    taken = ApiError(409, "AlreadyExists", 'auditsessions.exectrail.io "s1" already exists')

    assert is_there(taken)
    assert not is_passing(taken)
