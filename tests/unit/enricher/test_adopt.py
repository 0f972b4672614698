"""Processes that were there before the enricher are known for what they still show."""

import pytest
from msgspec.structs import replace

from enricher.correlate.backfill import backfill, descendants
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.events import Process
from enricher.procfs import ProcessInfo

APP = "a" * 64


def process(pid: int, start: int, parent: int, ns_pid: int, argv: bytes, leader: int = 0) -> ProcessInfo:
    return ProcessInfo(Process(pid, start), parent, 0, 0, ns_pid, False, argv, False, "", leader or pid)


def test_the_init_and_its_descendants_belong_to_the_container() -> None:
    tree = Tree()

    found = [process(11, 20, 10, 7, b"worker\0", leader=10), process(10, 10, 1, 1, b"nginx\0")]
    backfilled = backfill(tree, APP, found)

    init, worker = tree.get(Process(10, 10)), tree.get(Process(11, 20))
    assert backfilled == 2
    assert init and worker and init.entry
    assert (init.entry.origin, worker.entry) == ("container", init.entry)


def test_the_oldest_is_the_init_where_the_container_shares_the_nodes_pids() -> None:
    tree = Tree()

    backfill(tree, APP, [process(10, 10, 1, 10, b"agent\0")])

    node = tree.get(Process(10, 10))
    assert node and node.entry and node.entry.origin == "container"


def test_how_others_came_in_is_not_guessed() -> None:
    tree = Tree()

    backfill(tree, APP, [process(10, 10, 1, 1, b"nginx\0"), process(50, 99, 1, 33, b"bash\0")])

    node = tree.get(Process(50, 99))
    assert node and node.entry and node.entry.origin is None


def test_a_process_that_is_known_keeps_what_is_known_of_it() -> None:
    tree = Tree()
    backfill(tree, APP, [process(10, 10, 1, 1, b"nginx\0")])
    before = tree.get(Process(10, 10))

    assert backfill(tree, APP, [process(10, 10, 1, 1, b"other\0")]) == 0
    assert tree.get(Process(10, 10)) is before


def test_the_runtime_on_its_way_into_the_container_is_none_of_its_processes() -> None:
    tree = Tree()

    assert (
        backfill(tree, APP, [process(10, 10, 1, 10, b"runc\0init\0"), process(9, 9, 1, 9, b"/usr/bin/crun\0exec\0-p")])
        == 0
    )
    assert not tree.has_init(APP)


def test_a_process_in_the_middle_of_an_exec_is_not_taken_for_an_init() -> None:
    tree = Tree()

    assert backfill(tree, APP, [process(10, 10, 1, 1, b"")]) == 0
    assert not tree.has_init(APP)


def origins(tree: Tree, *pids: int) -> list[str | None]:
    nodes = [tree.by_pid(pid) for pid in pids]
    return [node.entry.origin if node and node.entry else "unknown" for node in nodes]


def with_a_session() -> Tree:
    """A container with its init, and an exec whose shell was seen to come in."""
    tree = Tree()
    backfill(tree, APP, [process(10, 10, 1, 1, b"sleep\0")])
    tree.backfill(Node(Process(50, 99), Process(49, 98), APP, 0, Entry(Process(50, 99), "session")))
    return tree


HERE = [process(10, 10, 1, 1, b"sleep\0"), process(50, 99, 49, 7, b"sh\0")]


@pytest.mark.parametrize(
    ("what", "newcomer", "origin"),
    [
        ("a child of the shell", process(60, 200, 50, 9, b"id\0", leader=50), "session"),
        ("a child of the shell in a session of its own", process(60, 200, 50, 9, b"id\0"), "session"),
        ("an orphan of the shell", process(60, 200, 10, 9, b"id\0", leader=50), "session"),
        ("a child of the init", process(60, 200, 10, 9, b"id\0", leader=10), "container"),
        (
            "a child of the init in a session of its own, or an orphan of anybody",
            process(60, 200, 10, 9, b"id\0"),
            None,
        ),
        ("an orphan of whom nobody knows", process(60, 200, 10, 9, b"id\0", leader=55), None),
        ("somebody who came in meanwhile", process(60, 200, 3, 9, b"id\0"), None),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_who_was_born_unseen_has_the_origin_of_whom_it_surely_descends_from(
    what: str, newcomer: ProcessInfo, origin: str | None
) -> None:
    tree = with_a_session()

    backfill(tree, APP, [*HERE, newcomer])

    assert origins(tree, 10, 50, 60) == ["container", "session", origin], what


def test_of_processes_outside_of_their_cgroup_all_descendants_are_found() -> None:
    tree = with_a_session()
    everybody = [
        *HERE,
        process(71, 300, 70, 71, b"b\0"),
        process(70, 250, 50, 70, b"a\0"),
        process(80, 1, 2, 80, b"c\0"),
    ]

    found = descendants(tree, [Process(50, 99)], everybody)

    assert [info.process.pid for info in found] == [70, 71]
    assert origins(tree, 70, 71, 80) == ["session", "session", "unknown"]


def test_what_has_ended_and_waits_for_its_parent_is_not_taken_in() -> None:
    tree = with_a_session()

    backfill(tree, APP, [*HERE, replace(process(60, 200, 50, 9, b"id\0"), gone=True)])

    assert tree.by_pid(60) is None
