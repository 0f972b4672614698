"""`python3 -m tests.cluster.node`: see --help."""

import argparse
import os
import shlex
import sys

from . import browser, packages, parts, sigterm
from .alone import alone
from .build import go_build
from .components import COLLECTOR_BUILD, HELM_BUILD, LOKI_BUILD
from .config import kubeconfig
from .daemons import daemons
from .down import down
from .errors import NodeError
from .paths import AUDIT_LOG, BIN, CONTAINERD_SOCKET, STATE
from .product import archive, build_product
from .run import say, step
from .services import state
from .up import up


def main() -> int:
    """Run one command; 0 if all is well."""
    arguments = _parser().parse_args()
    if os.geteuid() != 0 and arguments.command is not _helm:
        say("the node needs root: it runs containers. Try again with sudo -E")
        return 1
    sigterm.obey()
    try:
        return int(arguments.command() or 0)
    except NodeError as error:
        say(f"\nerror: {error}")
        return 1


def _packages() -> None:
    with alone():
        packages.install()


def _browser() -> None:
    with alone():
        browser.install()


def _helm() -> None:
    go_build(HELM_BUILD)


def _parts() -> None:
    with alone():
        parts.make(LOKI_BUILD, COLLECTOR_BUILD)
        archive()


def _up() -> None:
    with alone(), step("up"):
        up()
    print(f"export KUBECONFIG={shlex.quote(str(kubeconfig('admin')))}")


def _down() -> None:
    with alone():
        down()


def _image() -> None:
    with alone():
        build_product()


def _status() -> int:
    states = {service.name: state(service) for service in daemons(BIN)}
    for name, text in states.items():
        print(f"{name:<26}{text}")
    return int(set(states.values()) != {"running"})


def _env() -> None:
    variables = {
        "KUBECONFIG": kubeconfig("admin"),
        "EXECTRAIL_ALICE_KUBECONFIG": kubeconfig("alice"),
        "EXECTRAIL_API_AUDIT_LOG": AUDIT_LOG,
        "EXECTRAIL_NODE_STATE": STATE,
        "CONTAINERD_ADDRESS": CONTAINERD_SOCKET,  # these two are what `ctr` reads
        "CONTAINERD_NAMESPACE": "k8s.io",
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(str(value))}")
    print(f'export PATH={shlex.quote(str(BIN))}:"$PATH"')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.cluster.node",
        description="A real single-node Kubernetes cluster from packages, for tests and the demo.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("up", _up, "bring the node up, or repair it; the last line on stdout sets KUBECONFIG"),
        ("down", _down, "end the node and remove all of it but the caches"),
        ("status", _status, "say which services run; exit code 1 unless all do"),
        ("env", _env, 'print the exports for using the node: eval "$(... env)"'),
        ("packages", _packages, "install the system packages that are missing, and nothing else"),
        ("browser", _browser, "install Chromium if it is missing, and nothing else"),
        ("helm", _helm, "build Helm into the cache, and nothing else; needs no root"),
        ("parts", _parts, "build what the node, the product and the tests need, into the cache, and nothing else"),
        ("image", _image, "build the product's image if its sources changed, and import it"),
    ):
        commands.add_parser(name, help=text, description=text).set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
