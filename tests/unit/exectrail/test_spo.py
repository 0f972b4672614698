"""The Security Profiles Operator's names: what its users' objects and scripts rely on."""

import pytest

from exectrail.contracts import spo


@pytest.mark.parametrize(
    ("name", "path"),
    [("nginx", "operator/nginx.json"), ("nginx.json", "operator/nginx.json"), ("a.b", "operator/a.b.json")],
)
def test_a_profile_is_a_file_in_the_folder_operator(name: str, path: str) -> None:
    assert spo.localhost_profile(name) == path


def test_a_profile_id_is_kind_and_name() -> None:
    assert spo.profile_id("SeccompProfile", "nginx") == "SeccompProfile-nginx"


def test_a_profile_id_that_is_too_long_is_hashed_to_the_length_of_a_label() -> None:
    first, second = (spo.profile_id("SeccompProfile", "n" * 60 + end) for end in "ab")
    assert len(first) == len(second) == 63
    assert first.startswith("SeccompProfile-")
    assert first != second
