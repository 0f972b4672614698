"""Processes that were there before the enricher are known for what they still show."""

from enricher.attribute.tree import Tree
from enricher.events import Process
from enricher.ledgers.adopt import adopt
from enricher.ledgers.proc import ProcessInfo

APP = "a" * 64


def process(pid: int, start: int, parent: int, ns_pid: int, argv: bytes) -> ProcessInfo:
    return ProcessInfo(Process(pid, start), parent, 0, 0, ns_pid, False, argv, False, "")


def test_the_init_and_its_descendants_belong_to_the_container() -> None:
    tree = Tree()

    adopted = adopt(tree, APP, [process(11, 20, 10, 7, b"worker\0"), process(10, 10, 1, 1, b"nginx\0")])

    init, worker = tree.get(Process(10, 10)), tree.get(Process(11, 20))
    assert adopted == 2
    assert init and worker and init.entry
    assert (init.entry.origin, worker.entry) == ("container", init.entry)


def test_the_oldest_is_the_init_where_the_container_shares_the_nodes_pids() -> None:
    tree = Tree()

    adopt(tree, APP, [process(10, 10, 1, 10, b"agent\0")])

    node = tree.get(Process(10, 10))
    assert node and node.entry and node.entry.origin == "container"


def test_how_others_came_in_is_not_guessed() -> None:
    tree = Tree()

    adopt(tree, APP, [process(10, 10, 1, 1, b"nginx\0"), process(50, 99, 1, 33, b"bash\0")])

    node = tree.get(Process(50, 99))
    assert node and node.entry and node.entry.origin is None


def test_a_process_that_is_known_keeps_what_is_known_of_it() -> None:
    tree = Tree()
    adopt(tree, APP, [process(10, 10, 1, 1, b"nginx\0")])
    before = tree.get(Process(10, 10))

    assert adopt(tree, APP, [process(10, 10, 1, 1, b"other\0")]) == 0
    assert tree.get(Process(10, 10)) is before


def test_the_runtime_on_its_way_into_the_container_is_none_of_its_processes() -> None:
    tree = Tree()

    assert (
        adopt(tree, APP, [process(10, 10, 1, 10, b"runc\0init\0"), process(9, 9, 1, 9, b"/usr/bin/crun\0exec\0-p")])
        == 0
    )
    assert not tree.has_init(APP)


def test_a_process_in_the_middle_of_an_exec_is_not_taken_for_an_init() -> None:
    tree = Tree()

    assert adopt(tree, APP, [process(10, 10, 1, 1, b"")]) == 0
    assert not tree.has_init(APP)
