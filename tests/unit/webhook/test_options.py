"""Options that cannot work are refused at the start, not at each request."""

import pytest

from webhook.options import parser


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a\nb"])
def test_a_key_of_extra_that_json_would_escape_is_refused(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--namespace", "exectrail", "--extra-keys", f"arn,{key}"])

    assert "is no key of a user's extra" in capsys.readouterr().err
    assert parser().parse_args(["--namespace", "exectrail", "--extra-keys", "arn,a/b"]).extra_keys == ["arn", "a/b"]
