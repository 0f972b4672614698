"""Filters in a file that changes, as a ConfigMap's volume does; and the command that tries them."""

import json
import os
from pathlib import Path

import pytest

from exectrail import cli
from exectrail.filter.file import LARGEST, FilterFile
from exectrail.filter.filters import FilterError

NONE = "[]"
DROP = '[{"level": "None", "matchKeys": ["pid"]}]'


class ConfigMapVolume:
    """A key in a folder that is exchanged as a whole by a rename, as the kubelet does it."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.path, self._count = folder, folder / "filters.json", 0
        self.write(text)
        self.path.symlink_to("..data/filters.json")

    def write(self, text: str) -> None:
        self._count += 1
        version = self.folder / f"..{self._count}"
        version.mkdir()
        (version / "filters.json").write_text(text)
        (self.folder / "..tmp").symlink_to(version.name)
        os.replace(self.folder / "..tmp", self.folder / "..data")


def rules(file: FilterFile) -> int | None:
    """How many rules the filters have that are in use; None without any."""
    return None if file.filters is None else len(file.filters.rules)


def test_a_changed_file_takes_over_without_a_restart(tmp_path: Path) -> None:
    volume = ConfigMapVolume(tmp_path, NONE)
    file = FilterFile(volume.path)
    before = file.filters

    assert not file.refresh()
    volume.write(DROP)
    assert file.refresh()
    assert not file.refresh()

    assert file.filters is not before and rules(file) == 1
    assert (file.reloads, file.failures, file.problem) == (1, 0, None)


def test_after_a_bad_change_the_filters_before_it_stay_and_it_is_reported_once(tmp_path: Path) -> None:
    volume = ConfigMapVolume(tmp_path, DROP)
    file = FilterFile(volume.path)
    before = file.filters

    volume.write('[{"level": "Nome"}]')
    told = [file.refresh(), file.refresh()]

    assert told == [True, False]
    assert file.filters is before
    assert (file.reloads, file.failures) == (0, 1)
    assert file.problem == 'line 1, column 12: rule 1: level is "Nome", must be "Metadata" (keep) or "None" (drop)'


def test_the_repaired_file_takes_over(tmp_path: Path) -> None:
    volume = ConfigMapVolume(tmp_path, DROP)
    file = FilterFile(volume.path)
    volume.write("[")
    file.refresh()
    volume.write(NONE)

    assert file.refresh()
    assert file.problem is None
    assert rules(file) == 0


def test_a_file_that_vanishes_is_reported_once_and_read_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    path.write_text(DROP)
    file = FilterFile(path)

    path.rename(tmp_path / "away")
    assert [file.refresh(), file.refresh()] == [True, False]
    assert "filters.json" in str(file.problem)
    (tmp_path / "away").rename(path)
    assert [file.refresh(), file.refresh()] == [True, False]

    assert (file.failures, rules(file)) == (1, 1)
    assert str(file.problem) == "None"


def test_at_start_a_bad_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    with pytest.raises(FileNotFoundError):
        FilterFile(path)
    path.write_text("[")
    with pytest.raises(FilterError, match="line 1, column 2"):
        FilterFile(path)
    path.write_text(" " * (LARGEST + 1))
    with pytest.raises(FilterError, match="larger than"):
        FilterFile(path)


# ---- a file that stands in for another ----


@pytest.mark.parametrize(("given", "alone"), [(NONE, 0), (None, None)], ids=["beside a file", "alone"])
def test_another_file_counts_while_it_is_there(tmp_path: Path, given: str | None, alone: int | None) -> None:
    path, instead = tmp_path / "filters.json", tmp_path / "settings" / "filters.json"
    if given is not None:
        path.write_text(given)
    file = FilterFile(path if given is not None else None, instead)
    assert (rules(file), file.refresh()) == (alone, False)

    instead.parent.mkdir()
    instead.write_text(DROP)
    assert (file.refresh(), rules(file), file.refresh()) == (True, 1, False)
    instead.unlink()
    assert (file.refresh(), rules(file), file.refresh()) == (True, alone, False)

    assert (file.reloads, file.failures, file.problem) == (2, 0, None)


def test_at_start_the_other_file_counts_at_once_and_is_no_reload(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(DROP)
    file = FilterFile(None, tmp_path / "other.json")
    assert (rules(file), file.reloads, file.refresh()) == (1, 0, False)


def test_at_start_a_mistake_in_the_other_file_leaves_the_first_in_use(tmp_path: Path) -> None:
    path, instead = tmp_path / "filters.json", tmp_path / "other.json"
    path.write_text(DROP)
    instead.write_text("[")
    file = FilterFile(path, instead)

    assert (rules(file), file.failures, file.refresh()) == (1, 1, False)
    assert "line 1, column 2" in str(file.problem)

    instead.write_text(NONE)
    assert (file.refresh(), rules(file), file.problem) == (True, 0, None)


def test_a_mistake_in_the_other_file_leaves_what_was_in_use_before_until_it_is_gone(tmp_path: Path) -> None:
    path, instead = tmp_path / "filters.json", tmp_path / "other.json"
    path.write_text(NONE)
    instead.write_text(DROP)
    file = FilterFile(path, instead)

    instead.write_text("[")
    assert (file.refresh(), rules(file)) == (True, 1)
    instead.unlink()
    assert (file.refresh(), rules(file), file.problem) == (True, 0, None)


# ---- exectrail filter ----


@pytest.fixture
def recommended(tmp_path: Path) -> Path:
    path = tmp_path / "filters.json"
    path.write_text(
        '[{"priority": 999, "level": "None", "matchKeys": ["version"], "matchValues": ["spo/v1_alpha"]},'
        ' {"priority": 100, "level": "Metadata", "matchKeys": ["requestUID"]},'
        ' {"priority": 50, "level": "None", "matchKeys": ["user"], "matchValues": ["eve"]}]'
    )
    return path


def test_a_try_shows_each_rules_hits_and_what_it_drops(
    recommended: Path, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["filter", "--try", str(recommended), str(alice_file)]) == 0
    assert capsys.readouterr().out == (
        "kept 21 (no rule matched 0; always kept 4), dropped 1\n"
        "\n"
        "RULE  PRIORITY  LEVEL     HITS\n"
        "   3        50  None         0\n"
        "   2       100  Metadata    17\n"
        "   1       999  None         1\n"
        "\n"
        "dropped by rule 1, 1 of 1:\n"
        "  2026-11-23T14:58:03.126Z exec shop/web-0/app probe  pg_isready\n"
    )


def test_a_try_as_json_accounts_for_every_record(
    recommended: Path, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["filter", "--try", str(recommended), "-o", "json", str(alice_file)]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["kept"] + report["dropped"] == len(alice_file.read_bytes().splitlines())
    assert sum(rule["hits"] for rule in report["rules"]) + report["unmatched"] + report["unfiltered"] == 22
    assert [len(rule["sample"]) for rule in report["rules"]] == [0, 0, 1]
    assert report["rules"][2]["sample"][0]["argv"] == ["pg_isready"]


def test_a_try_on_a_folder_reads_all_that_can_be_read_of_it(
    recommended: Path, alice_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("one.jsonl", "two.jsonl"):
        (folder / name).write_bytes(alice_file.read_bytes())
    (folder / "three.jsonl").write_text("no trail")

    assert cli.run(["filter", "--try", str(recommended), str(folder)]) == 3
    printed = capsys.readouterr()
    assert printed.out.startswith("kept 42 ")
    assert "three.jsonl:1: not a record" in printed.err


def test_a_rule_that_drops_much_shows_the_first_three(
    tmp_path: Path, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").write_text(DROP)

    assert cli.run(["filter", "--try", str(tmp_path / "f"), str(alice_file)]) == 0
    assert "dropped by rule 1, 3 of 18:" in capsys.readouterr().out


def test_a_try_of_a_bad_filter_set_names_file_and_place(
    tmp_path: Path, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('[\n  {"level": "None", "matchKeys": ["resource/namspace\\u001b[2J"]}\n]')

    assert cli.run(["filter", "--try", str(bad), str(alice_file)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"exectrail: {bad}: line 2, column 35: rule 1: no record has a key")
    assert "\x1b" not in told


@pytest.mark.parametrize(("filters", "trail"), [("missing", "trail.jsonl"), ("filters.json", "missing")])
def test_a_try_of_what_cannot_be_read_is_2(
    filters: str, trail: str, tmp_path: Path, recommended: Path, alice_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["filter", "--try", str(tmp_path / filters), str(tmp_path / trail)]) == 2
    assert capsys.readouterr().err == f"exectrail: {tmp_path}/missing: No such file or directory\n"
