"""The cluster as the user's own kubectl sees it: with its credentials, plugins and configuration.

kubectl's words are passed on, since they are what an administrator can act on; to them comes the address that was
tried, or the permission that is missing.
"""

import codecs
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from exectrail.reading.shell import visible

# Discovery tries several times with this limit, so an address that swallows packets is given up after a minute.
_TIMEOUT = "--request-timeout=20s"
_UNREACHABLE = re.compile(
    r"connection to the server|unable to connect|no such host|timeout|timed out|refused", re.IGNORECASE
)
_ANSWERED = re.compile(
    r"^Error from server|unable to upgrade connection|Internal error occurred|^command terminated", re.MULTILINE
)
"""Words of the API server, or of a command in a pod: so it was reached, and something behind it may not be."""
_FORBIDDEN = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?')
_NOT_INSTALLED = re.compile(r"the server doesn't have a resource type|could not find the requested resource")
_NO_CREDENTIALS = re.compile(r"must be logged in|Unauthorized|error: EOF")


class KubectlError(Exception):
    """kubectl failed, or could not be run; the message has its words and what to do."""


class Unreachable(KubectlError):
    """There is no cluster at the address that kubectl tried."""


class Forbidden(KubectlError):
    """The user may not do this in the cluster."""


class NotFound(KubectlError):
    """The cluster has no such object, or no such kind of them."""


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an open quote: that there is no such program is said when it is run
        return [command]


class Kubectl:
    """The program named by the environment variable KUBECTL, else `kubectl` on PATH."""

    def __init__(self, context: str | None = None, kubeconfig: str | None = None) -> None:
        self._command = _split(os.environ.get("KUBECTL", "")) or ["kubectl"]
        self._command += [f"--context={context}"] if context else []
        self._command += [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        self._running: set[subprocess.Popen[bytes]] = set()

    def get(self, *arguments: str) -> bytes:
        """What `kubectl get ARGUMENTS` prints.

        Raises:
            KubectlError: It failed.

        """
        return self.ask("get", _TIMEOUT, *arguments)

    def ask(self, *arguments: str) -> bytes:
        """What kubectl prints.

        Raises:
            KubectlError: It failed.

        """
        with self.stream(*arguments) as output:
            return output.read()

    def end(self) -> None:
        """End all that run, also for other threads."""
        for process in list(self._running):
            process.terminate()

    @contextmanager
    def stream(self, *arguments: str) -> Iterator[IO[bytes]]:
        """The output of kubectl while it runs; to be read to its end, or left by an exception, which ends kubectl.

        Raises:
            KubectlError: It could not be run, or failed by the end of its output.

        """
        errors = _Errors()
        with self._start(arguments, errors) as process:
            self._running.add(process)
            try:
                yield _output(process)
            except BaseException:
                process.terminate()
                raise
            finally:
                self._running.discard(process)
            failed, words = process.wait(), errors.words()
            if failed:
                raise self._error(words, arguments)

    def _start(self, arguments: tuple[str, ...], errors: "_Errors") -> "subprocess.Popen[bytes]":
        try:
            return subprocess.Popen(
                [*self._command, *arguments],
                # Without credentials kubectl asks for a user name, on the very output that is read here.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors.pipe,
            )
        except OSError as error:
            raise KubectlError(
                f"cannot run {self._command[0]}: {error.strerror}. "
                "Reading from a cluster needs kubectl on PATH (or the variable KUBECTL); a trail can be given as FILE."
            ) from error
        finally:
            errors.begin()

    def _error(self, stderr: str, arguments: tuple[str, ...]) -> KubectlError:
        words = _words(stderr) or f"kubectl {shlex.join(arguments)} failed without a word"
        if needed := _FORBIDDEN.search(words):
            return Forbidden(f"{words}\n{_permission(*needed.groups())}")
        if _NOT_INSTALLED.search(words):
            return NotFound(f"{words}\nIs exectrail installed in this cluster? A trail can be given as FILE.")
        if _NO_CREDENTIALS.search(words):
            return KubectlError(f"{words}\nNo valid credentials for this cluster: does `kubectl get namespaces` work?")
        if _UNREACHABLE.search(words) and not _ANSWERED.search(words):
            return Unreachable(f"cluster unreachable at {self._address()}: {words}")
        return KubectlError(words)

    def _address(self) -> str:
        path = "-o=jsonpath={.clusters[0].cluster.server}"
        command = [*self._command, "config", "view", "--minify", path]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return visible(done.stdout.decode(errors="replace").strip()) or "kubectl's default address (no current context)"


_ERROR = re.compile(r"error|Error|Unable to connect|The connection to the server|[EWIF]\d{4} |command terminated")
"""How lines begin that kubectl itself ends with: they come with what to do, once it has ended."""
_MOST_WORDS = 1 << 20
_LAST_WORDS = 1.0
"""Seconds in which they come once kubectl has ended."""


class _Errors:
    """Reads kubectl's error output while it runs: a pipe that is full would stop it.

    A credential plugin asks there for a login, and waits for it. So on a terminal, what is no error is shown at once.
    """

    def __init__(self) -> None:
        self._words = ""
        self._shows = sys.stderr.isatty()
        self._from, self.pipe = os.pipe()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def begin(self) -> None:
        """Read, now that kubectl has its end of the pipe, or has not started."""
        os.close(self.pipe)
        self._thread.start()

    def words(self) -> str:
        """What was not shown, up to its end; what kubectl has started may hold that open.

        Python aborts where it ends while a thread writes to standard error.
        """
        self._thread.join(_LAST_WORDS)
        return self._words

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        begun = ""  # of a line, and not shown yet
        while data := os.read(self._from, 1 << 16):
            *lines, begun = (begun + decoder.decode(data)).split("\n")
            for line in lines:
                self._take(f"{line}\n")
            if self._shows and begun and not _ERROR.match(begun):  # it may be a question, which has no end
                self._take(begun)
                begun = ""
        self._take(begun)
        os.close(self._from)

    def _take(self, words: str) -> None:
        if self._shows and not _ERROR.match(words):
            sys.stderr.write("".join(c if c == "\n" else visible(c) for c in words))
            sys.stderr.flush()
        elif len(self._words) < _MOST_WORDS:
            self._words += words


def _output(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    if process.stdout is None:
        raise TypeError("started without a pipe")
    return process.stdout


def _words(stderr: str) -> str:
    """kubectl's message, without its library's log lines (klog) around it."""
    lines = [visible(line) for line in stderr.splitlines() if line and not re.match(r"[EWI]\d{4} ", line)]
    return "\n".join(lines)


def _permission(verb: str, resource: str, group: str, namespace: str | None) -> str:
    """The RBAC rule that the API server asked for, as a command for an administrator."""
    kind = "role" if namespace else "clusterrole"
    place = f" --namespace={namespace}" if namespace else ""
    # Newer servers ask for `create` as well when kubectl opens an exec by GET (WebSocket).
    verbs = "get,create" if resource == "pods/exec" else verb
    name = f"{resource}.{group}" if group else resource
    # A name for each right: `create` refuses a name that is taken, as by the role of docs/reference/commands.md.
    role = f"exectrail-{verbs}-{name}".replace(",", "-").replace("/", "-")
    return f"Needed: kubectl create {kind} {role}{place} --verb={verbs} --resource={name}, bound to you."
