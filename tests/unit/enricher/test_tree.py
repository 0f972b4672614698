"""The process tree: descent, reuse of pids, and bounded memory."""

import pytest

from enricher.argv import shortened
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process

APP = "a" * 64
OUTSIDE = Process(1, 1)


def execute(process: Process, argv: bytes = b"sh\0", parent: Process = OUTSIDE) -> ExecEvent:
    return ExecEvent(1, 1, "", process, parent, 0, 0, False, b"/bin/sh", argv, False)


def fork(parent: Process, child: Process) -> ForkEvent:
    return ForkEvent(2, 1, "", parent, child, 0, 0)


def gone(process: Process, time: int = 3) -> ExitEvent:
    return ExitEvent(time, 1, process, 0, None)


def tree_with_init(init: Process, most: int = 65_536) -> Tree:
    tree = Tree(most)
    node, is_init = tree.exec(execute(init), APP)
    assert is_init
    node.entry = Entry(init, "container")
    return tree


def test_a_child_inherits_what_its_parent_is_bound_to() -> None:
    init, child = Process(10, 1), Process(11, 2)
    tree = tree_with_init(init)

    node = tree.fork(fork(init, child), APP)

    assert node.entry
    assert node.entry.process == init
    assert node.entry.processes == 2
    assert node.program == b"/bin/sh"


def test_a_child_outlives_its_parent_in_the_tree() -> None:
    init, child, grandchild = Process(10, 1), Process(11, 2), Process(12, 3)
    tree = tree_with_init(init)
    tree.fork(fork(init, child), APP)
    tree.exit(gone(init))

    node = tree.fork(fork(child, grandchild), APP)

    assert node.entry
    assert node.entry.process == init


def test_a_pid_that_is_used_again_is_another_process() -> None:
    init, stranger = Process(10, 1), Process(10, 99)
    tree = tree_with_init(init)
    tree.exit(gone(init))

    node, is_init = tree.exec(execute(stranger), APP)

    assert node.entry is None
    assert not is_init


def test_who_was_born_unseen_belongs_to_the_parent_that_it_has() -> None:
    init, shell, child = Process(10, 1), Process(20, 2), Process(21, 3)
    tree = tree_with_init(init)
    session = Entry(shell, "session")
    tree.backfill(Node(shell, Process(1, 1), APP, 2, session))

    node = tree.missed(execute(child, parent=shell), APP)

    assert node
    assert node.entry is session
    assert (node.born, session.processes) == (3 * 10_000_000, 2)
    assert tree.get(child) is node


def test_of_a_child_of_the_containers_init_nobody_knows_where_it_comes_from_as_orphans_go_there() -> None:
    init, child = Process(10, 1), Process(21, 3)
    tree = tree_with_init(init)

    node = tree.missed(execute(child, parent=init), APP)

    assert node
    assert node.entry
    assert (node.entry.process, node.entry.origin) == (child, None)


@pytest.mark.parametrize(
    ("parent", "container"), [(OUTSIDE, APP), (Process(10, 2), APP), (Process(10, 1), "b" * 64)],
    ids=["outside", "another one with its pid", "of another container"],
)  # fmt: skip
def test_who_has_no_parent_in_its_container_came_in_from_outside(parent: Process, container: str) -> None:
    tree = tree_with_init(Process(10, 1))

    assert tree.missed(execute(Process(21, 3), parent=parent), container) is None
    assert len(tree) == 1


def test_only_the_first_to_run_a_program_is_the_containers_init() -> None:
    tree = tree_with_init(Process(10, 1))

    _, is_init = tree.exec(execute(Process(50, 5)), APP)

    assert not is_init


def test_a_pid_leads_to_its_last_process_until_that_is_forgotten() -> None:
    init = Process(10, 1)
    tree = tree_with_init(init)
    tree.exit(gone(init, time=100))

    tree.forget_gone(before=100)
    kept = tree.by_pid(10)
    tree.forget_gone(before=101)

    assert kept
    assert kept.process == init
    assert tree.by_pid(10) is None


def test_a_container_that_is_gone_leaves_nothing() -> None:
    init, child = Process(10, 1), Process(11, 2)
    tree = tree_with_init(init)
    tree.fork(fork(init, child), APP)

    tree.forget_container(APP)

    assert (len(tree), tree.by_pid(11), tree.has_init(APP)) == (0, None, False)


def test_a_containers_flood_pushes_out_neither_what_others_have_nor_who_came_from_outside() -> None:
    tree = Tree(most=100)
    quiet, flooding = Process(10, 1), Process(20, 1)
    for init, container in ((quiet, APP), (flooding, "b" * 64)):
        tree.exec(execute(init), container)[0].entry = Entry(init, "container")
    guest, its_child = Process(30, 3), Process(31, 3)
    tree.exec(execute(guest), APP)[0].entry = Entry(guest, "session")
    tree.fork(fork(guest, its_child), APP)
    intruder = Process(40, 4)
    tree.exec(execute(intruder), "b" * 64)[0].entry = Entry(intruder, "untracked")

    for index in range(1_000):
        tree.fork(fork(flooding, Process(1000 + index, index)), "b" * 64)

    assert (len(tree), tree.evicted) == (100, 905)
    assert all(map(tree.get, (quiet, guest, its_child, flooding, intruder)))


def test_too_many_processes_push_out_the_oldest_but_never_an_init() -> None:
    init = Process(10, 1)
    tree = tree_with_init(init, most=100)
    children = [Process(1000 + index, index) for index in range(150)]
    for child in children:
        tree.fork(fork(init, child), APP)

    assert (len(tree), tree.evicted) == (100, 51)
    assert tree.get(init)
    assert tree.get(children[0]) is None
    assert tree.get(children[-1])


# ---- memory ----

LONG = 64 << 10


def kept(tree: Tree) -> int:
    """Bytes of arguments that the tree holds on to."""
    return sum(len(argv) for argv in {id(node.argv): node.argv or b"" for node in tree.nodes()}.values())


def long_argv(number: int) -> bytes:
    return b"sh\0" + str(number).encode().rjust(LONG, b"x")


def test_many_processes_with_long_arguments_take_little() -> None:
    init = Process(10, 1)
    tree = tree_with_init(init)

    for number in range(1000):
        child = Process(100 + number, 2)
        tree.fork(fork(init, child), APP)
        tree.exec(execute(child, long_argv(number), init), APP)
        tree.exec(execute(init, long_argv(-number), OUTSIDE), APP)  # whose children share what it ran before

    assert kept(tree) < 1000 * 256 + 2 * LONG


def test_long_arguments_are_told_apart() -> None:
    init, first, second = Process(10, 1), Process(11, 2), Process(12, 3)
    tree = tree_with_init(init)
    for child, argv in ((first, long_argv(1)), (second, long_argv(2))):
        tree.fork(fork(init, child), APP)
        tree.exec(execute(child, argv, init), APP)

    found = [tree.get(child) for child in (first, second)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].argv != found[1].argv
    assert found[0].argv == shortened(long_argv(1)) == shortened(shortened(long_argv(1)))


def test_an_entrys_own_words_stay_whole_as_a_request_may_be_found_by_them() -> None:
    tree = tree_with_init(Process(10, 1))
    entry = Process(11, 2)

    node, _ = tree.exec(execute(entry, long_argv(1)), APP)

    assert node.argv == long_argv(1)


def test_many_entries_with_long_arguments_are_bounded_and_room_comes_back_with_their_ends() -> None:
    tree = tree_with_init(Process(10, 1))
    entries = [Process(100 + number, 2) for number in range(1000)]
    for number, entry in enumerate(entries):
        tree.backfill(Node(entry, OUTSIDE, APP, 1, Entry(entry, None), argv=long_argv(number)))

    assert 7 << 20 < kept(tree) < 9 << 20

    for entry in entries:
        tree.exit(gone(entry))
    late, _ = tree.exec(execute(Process(5000, 9), long_argv(1)), APP)
    assert late.argv == long_argv(1)
