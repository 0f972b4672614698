"""The tag as a container's variable: for containers that a request makes, whose command stays as it is."""

import uuid
from collections.abc import Iterator

from msgspec import Struct

from exectrail.contracts.session import TAG_VARIABLE
from webhook.reviews.json_value import Budget, Most, Value
from webhook.reviews.review import Operation, Patch, Removal
from webhook.reviews.session_spec import Asked, kept_command

_COMMAND = Most(words=4096, characters=16 << 10)
"""What is read of a container's command, and of its arguments; a session keeps less."""


class Container(Struct, frozen=True):
    """A container of any kind, as far as a tag and a session are concerned."""

    path: str
    """Where it is in its pod (JSON pointer, RFC 6901)."""
    asked: Asked
    """What its session keeps of the request that makes it."""
    env: Value


def containers_of(
    listed: Value,
    member: str,
    budget: Budget,
    *,
    known: frozenset[str] = frozenset(),
    node: str = "",
    generate_name: str = "",
) -> Iterator[Container]:
    """The containers in a member of a pod's spec.

    Args:
        listed: The member.
        member: Its name.
        budget: How much may be read.
        known: The names of those that are to be left out.
        node: The node that they are to debug.
        generate_name: How their pod's name begins, where the API server chooses it.

    Raises:
        BadReview: They are no containers.
        TooLarge: The budget does not suffice.

    """
    found = listed.objects(budget, "name", "command", "args", "env", "tty", "stdin")
    for index, (name, command, args, env, tty, stdin) in enumerate(found):
        text = name.required("str").text()
        if text in known:
            continue
        budget.take(sessions=1)
        words = kept_command([*command.some_words(_COMMAND), *args.some_words(_COMMAND)])
        asked = Asked("debug", text, words, tty.flag(), stdin.flag(), node, generate_name)
        yield Container(f"/spec/{member}/{index}", asked, env)


def uids(request_uid: str, names: list[str]) -> Iterator[str]:
    """A UID for each of the containers that one request makes, for a UID binds one process.

    The first has the request's own, each other one the UUID of its name in the request's namespace (RFC 9562, 5.5).
    """
    for number, name in enumerate(names):
        yield str(uuid.uuid5(uuid.UUID(request_uid), name)) if number else request_uid


def set_variable(container: Container, uid: str, budget: Budget) -> Patch:
    """Make our variable the container's last, and the only one of its name.

    Raises:
        BadReview: Its variables are none.
        TooLarge: The budget does not suffice.

    """
    ours = {"name": TAG_VARIABLE, "value": uid}
    if container.env.absent:
        return [Operation(f"{container.path}/env", [ours])]
    names = [name.text() for (name,) in container.env.objects(budget, "name")]
    forged = [index for index, name in enumerate(names) if name == TAG_VARIABLE]
    # From the last one on, so that those before it keep their places.
    removals = [Removal(f"{container.path}/env/{index}") for index in reversed(forged)]
    return [*removals, Operation(f"{container.path}/env/-", ours)]
