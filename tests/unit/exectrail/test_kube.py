"""The lean client, against a server that really speaks HTTP."""

import itertools
import json
import logging
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import Raw, Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import ApiError, Client, Event, object_path
from tests.unit.exectrail.api_server import ApiServer

PODS = "/api/v1/pods"


class Pod(Struct, frozen=True):
    metadata: ObjectMeta


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def client(api: ApiServer) -> Client:
    return Client(api.url)


def names(pods: Iterable[Pod]) -> list[str]:
    return [pod.metadata.name for pod in pods]


def watch(client: Client, version: str) -> Iterator[Event[Pod]]:
    return client.watch(PODS, Pod, version, 60)


def listed(client: Client) -> list[Pod]:
    return [pod for page in client.pages(PODS, Pod) for pod in page.items]


def test_a_list_comes_in_pages_of_one_version_whatever_changes_meanwhile(
    api: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE", 2)
    for name in "abcde":
        api.set(name)

    pages = client.pages(PODS, Pod, fieldSelector="spec.nodeName=node1")
    first = next(pages)
    assert len(api.asked) == 1, "the next page is asked for when it is wanted"
    api.delete("d")
    every = [(names(page.items), page.resource_version) for page in (first, *pages)]

    assert every == [(["a", "b"], "105"), (["c", "d"], "105"), (["e"], "105")]
    assert [asked.query.get("continue") for asked in api.asked] == [None, "105:2", "105:4"]
    assert {(asked.query["fieldSelector"], asked.query["limit"]) for asked in api.asked} == {
        ("spec.nodeName=node1", "2")
    }


def test_a_page_that_comes_too_late_is_a_410(api: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE", 1)
    api.set("a")
    api.set("b")
    pages = client.pages(PODS, Pod)
    next(pages)
    api.compact()

    with pytest.raises(ApiError, match="Expired") as error:
        next(pages)
    assert error.value.status == 410


def test_a_list_of_nothing_is_an_empty_page_with_its_version(client: Client) -> None:
    assert [(list(page.items), page.resource_version) for page in client.pages(PODS, Pod)] == [([], "100")]


def test_an_unreadable_object_does_not_hide_the_others(
    api: ApiServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    api.set("a")
    api.objects["broken"] = {"metadata": {"name": 7}}
    api.set("b")

    with caplog.at_level(logging.WARNING):
        pods = listed(client)

    assert names(pods) == ["a", "b"]
    assert "$.metadata.name" in caplog.text


@pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 16], ids=lambda size: f"{size} bytes a chunk")
def test_a_watch_reports_each_change_however_it_is_cut_into_chunks(api: ApiServer, client: Client, chunk: int) -> None:
    api.chunk = chunk
    api.set("a", namespace="default", app="web")
    api.set("é", app="ünï")
    api.set("a", namespace="default")
    api.bookmark()
    api.delete("é")

    events = watch(client, "100")
    seen = [next(events) for _ in range(5)]
    events.close()  # type: ignore[attr-defined]

    assert [(event.type, event.resource_version) for event in seen] == [
        ("ADDED", "101"),
        ("ADDED", "102"),
        ("MODIFIED", "103"),
        ("BOOKMARK", "104"),
        ("DELETED", "105"),
    ]
    assert seen[0].object == Pod(ObjectMeta("a", "default", resource_version="101", labels={"app": "web"}))
    assert seen[1].object
    assert seen[1].object.metadata.labels == {"app": "ünï"}
    assert seen[3].object is None


def test_a_watch_begins_after_its_version_and_ends_with_the_server(api: ApiServer, client: Client) -> None:
    api.set("a")
    api.set("b")
    events = watch(client, "101")

    assert next(events).resource_version == "102"
    api.end_watches()
    assert list(events) == []
    query = api.asked[0].query
    assert (query["allowWatchBookmarks"], query["timeoutSeconds"]) == ("true", "60")


def test_few_of_many_come_at_once_from_the_api_servers_memory(api: ApiServer, client: Client) -> None:
    for number in range(150):
        api.set(f"web-{number}", "shop")
    (page,) = client.pages(PODS, Pod, few=True, labelSelector="a=b")

    assert len(list(page.items)) == 150
    assert page.resource_version == str(api.version)
    assert [each.query for each in api.asked] == [{"resourceVersion": "0", "labelSelector": "a=b"}]


def test_few_that_turn_out_to_be_many_come_in_pages(
    api: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE_BYTES", 25_000)
    for number in range(150):
        api.set(f"web-{number}", "shop", long="x" * 100)
    pages = [len(list(page.items)) for page in client.pages(PODS, Pod, few=True, labelSelector="a=b")]

    assert pages == [100, 50]
    assert [each.query.get("limit") for each in api.asked] == [None, "100", "100"]
    assert all(each.query["labelSelector"] == "a=b" for each in api.asked)


def test_a_page_has_fewer_objects_where_they_are_large_and_more_again_after_them(
    api: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE_BYTES", 50_000)
    for number in range(205):
        api.set(f"pod-{number}", "shop", long="x" * (60_000 if number == 103 else 11_000 if 100 <= number < 104 else 1))
    pages = client.pages(PODS, Pod)
    every = [(names(page.items), page.resource_version) for page in pages]

    assert [name for page, _ in every for name in page] == [f"pod-{number}" for number in range(205)]
    assert {version for _, version in every} == {"305"}, "all of one moment"
    asked = [(each.query.get("continue", ":0").partition(":")[2], each.query["limit"]) for each in api.asked]
    assert asked == [
        *[("0", "100"), ("100", "100"), ("100", "20"), ("100", "4")],
        *[("100", "1"), ("101", "1"), ("102", "1"), ("103", "1"), ("104", "1")],
        *[("105", "5"), ("110", "25"), ("135", "100")],
    ]


def test_ordinary_pages_come_over_one_connection_a_hundred_objects_each(api: ApiServer, client: Client) -> None:
    for number in range(250):
        api.set(f"pod-{number}")
    connections = set[frozenset[object]]()
    pages = []
    for page in client.pages(PODS, Pod):
        pages.append(len(list(page.items)))
        connections.add(frozenset(api.sockets))

    assert pages == [100, 100, 50]
    assert len(connections) == 1


def test_a_page_is_gone_before_the_next_one_comes(api: ApiServer, client: Client) -> None:
    size, objects = 1 << 20, b'{"metadata": {"name": "large"}, "spec": "%b"}' % (b"x" * (1 << 20))
    api.canned = [
        (200, b'{"metadata": {"continue": "%b"}, "items": [%b]}' % (more, objects)) for more in (b"1", b"2", b"3", b"")
    ]
    tracemalloc.start()  # of the server's bodies it sees nothing: they are there already
    try:
        assert names(listed(client)) == ["large"] * 4
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2.5 * size, "a page, and a copy while it is read"


@pytest.mark.parametrize("metadata_only", [True, False])
def test_where_metadata_is_enough_no_more_is_asked_for(api: ApiServer, client: Client, metadata_only: bool) -> None:
    api.set("web", "shop")
    (page,) = client.pages(PODS, Pod, metadata_only=metadata_only)
    watched = client.watch(PODS, Pod, page.resource_version, 60, metadata_only=metadata_only)
    api.set("web", "shop", a="b")
    assert next(watched).object

    accepted = [each.headers["Accept"].split(",")[0].partition(";")[2] for each in api.asked]
    kinds = ("as=PartialObjectMetadataList", "as=PartialObjectMetadata")
    assert accepted == ([f"{kind};g=meta.k8s.io;v=v1" for kind in kinds] if metadata_only else ["", ""])
    assert all(each.headers["Accept"].rpartition(",")[2] == "application/json" for each in api.asked)
    assert not any("metadata_only" in each.query for each in api.asked)


@pytest.mark.parametrize("gone_as_event", [False, True], ids=["HTTP status", "ERROR event"])
def test_a_version_that_is_too_old_is_a_410(api: ApiServer, client: Client, gone_as_event: bool) -> None:
    api.gone_as_event = gone_as_event
    api.set("a")
    api.compact()

    with pytest.raises(ApiError, match="Expired: too old") as error:
        list(watch(client, "100"))
    assert (error.value.status, error.value.reason) == (410, "Expired")


def test_a_watch_that_breaks_in_the_middle_is_an_error_without_status(api: ApiServer, client: Client) -> None:
    api.set("a")
    events = watch(client, "100")
    next(events)
    api.stop()

    with pytest.raises(ApiError) as error:
        list(events)
    assert error.value.status == 0
    api.start()


def test_an_unreadable_object_does_not_end_a_watch(
    api: ApiServer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    api.send('{"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": "101", "labels": 7}}}')
    api.set("b")
    events = watch(client, "100")

    with caplog.at_level(logging.WARNING):
        event = next(events)
        while event.object is None:
            event = next(events)
    events.close()  # type: ignore[attr-defined]

    assert event.object.metadata.name == "b"
    assert "$.metadata.labels" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        b'{"type": "ADDED", "object": {"metadata": {"name": "\xff", "resourceVersion": "\xff"}}}',
        "[" * 100_000,
        '{"type": "ADDED", "object": ' + '{"metadata":' * 50_000,
        "null",
    ],
    ids=["HTML", "not UTF-8", "nested deep", "nested deep inside", "null"],
)
def test_a_watch_that_speaks_no_json_is_an_error(api: ApiServer, client: Client, line: str | bytes) -> None:
    api.send(line)

    with pytest.raises(ApiError, match="Unreadable"):
        next(watch(client, "100"))


def test_a_created_object_goes_out_as_json(api: ApiServer, client: Client) -> None:
    client.create(PODS, Pod(ObjectMeta("a", "default")))
    client.create(PODS, Raw(b'{"ready": "made"}'))

    assert [json.loads(asked.body) for asked in api.asked] == [
        {"metadata": {"name": "a", "namespace": "default"}},
        {"ready": "made"},
    ]
    assert {(asked.method, asked.headers["Content-Type"]) for asked in api.asked} == {("POST", "application/json")}


def test_a_patch_is_a_merge_patch(api: ApiServer, client: Client) -> None:
    client.patch(f"{PODS}/a/status", {"status": {"phase": "Closed", "node": None}})

    assert api.asked[0].headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(api.asked[0].body) == {"status": {"phase": "Closed", "node": None}}


def test_an_object_is_deleted_once(api: ApiServer, client: Client) -> None:
    client.create(PODS, {"metadata": {"name": "a"}})
    client.delete(f"{PODS}/a")

    with pytest.raises(ApiError) as error:
        client.delete(f"{PODS}/a")
    assert error.value.status == 404
    assert [asked.method for asked in api.asked] == ["POST", "DELETE", "DELETE"]


def test_one_object_is_read(api: ApiServer, client: Client) -> None:
    api.canned = [(200, b'{"metadata": {"name": "kube-system", "uid": "u1"}}')]

    assert client.get("/api/v1/namespaces/kube-system", Pod).metadata.uid == "u1"


STRANGE = ["", ".", "..", "../secrets", "a?watch=true", "a#b", "a%2fb", "%2e%2e", "a b", "a\\b", "a\n", "\u00e4", "a@b"]


@pytest.mark.parametrize("name", STRANGE)
def test_text_that_is_no_name_is_never_asked_for(api: ApiServer, client: Client, name: str) -> None:
    asks: list[Callable[[str], object]] = [
        lambda path: client.get(path, Pod),
        lambda path: client.create(path, {}),
        lambda path: client.dry_run(path, {}, Pod),
        lambda path: client.patch(path, {}),
        lambda path: client.json_patch(path, []),
        client.delete,
        client.count,
        lambda path: list(client.pages(path, Pod)),
        lambda path: list(client.watch(path, Pod, "100", 60)),
    ]
    for ask in asks:
        for path in (f"{PODS}/{name}", f"{PODS}/{name}/status"):
            with pytest.raises(ApiError, match="was not asked for") as error:
                ask(path)
            assert error.value.status == 404
    assert api.asked == []


@pytest.mark.parametrize("name", [*STRANGE, "a/status", "/a"])
def test_text_that_is_no_name_has_no_path(name: str) -> None:
    with pytest.raises(ApiError, match="was not asked for") as error:
        object_path(PODS, name)
    assert error.value.status == 404


@pytest.mark.parametrize("name", ["web-0", "node1.example.org", "system:node", "0f8e6a52-3c1d", "a..b"])
def test_a_name_has_its_path(api: ApiServer, client: Client, name: str) -> None:
    api.canned = [(200, b'{"metadata": {"name": "a"}}')]
    client.get(object_path(PODS, name), Pod)

    assert [each.path for each in api.asked] == [f"{PODS}/{name}"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (409, b'{"kind": "Status", "reason": "AlreadyExists", "message": "a is there"}', "AlreadyExists: a is there"),
        (403, b'{"kind": "Status", "reason": "Forbidden", "message": "no"}', "Forbidden: no"),
        (502, b"<html>bad gateway</html>", "<html>bad gateway</html>"),
        (500, b"\xff" * 1000, "\ufffd" * 200),
        (503, b"", ""),
        (302, b"elsewhere", "elsewhere"),
        (304, b"", ""),
    ],
)
def test_a_refusal_has_status_and_reason(
    api: ApiServer, client: Client, status: int, body: bytes, message: str
) -> None:
    api.canned = [(status, body)]

    with pytest.raises(ApiError) as error:
        client.create(PODS, {})
    assert (error.value.status, str(error.value)) == (status, message)


def test_a_refusal_that_is_cut_is_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}")

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\n{")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ApiError, match="the answer was cut") as error:
            listed(client)
    assert error.value.status == 503


def answering(pieces: Iterable[bytes], status: str = "200 OK") -> Client:
    """A client whose server answers one request with these pieces, and then waits for the client to go."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(1 << 16)
            with suppress(OSError):  # the client has enough
                connection.sendall(f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                for piece in pieces:
                    connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                connection.recv(1)

    threading.Thread(target=answer, daemon=True).start()
    return Client(f"http://127.0.0.1:{server.getsockname()[1]}")


def drip() -> Iterator[bytes]:
    while True:
        yield b" "
        time.sleep(0.02)


ASKS: list[Callable[[Client], object]] = [
    lambda client: client.get(PODS, Pod),
    lambda client: client.create(PODS, {}),
    lambda client: client.dry_run(PODS, {}, Pod),
    lambda client: client.patch(PODS, {}),
    lambda client: client.json_patch(PODS, []),
    lambda client: client.delete(PODS),
    lambda client: client.count(PODS),
]
ONE_BY_ONE = pytest.mark.parametrize("pieces", [drip, lambda: [b" "]], ids=["without an end", "and then none"])


@ONE_BY_ONE
@pytest.mark.parametrize("ask", [*ASKS, listed])
def test_an_answer_that_comes_too_slowly_is_an_error_without_status(
    monkeypatch: pytest.MonkeyPatch, pieces: Callable[[], Iterable[bytes]], ask: Callable[[Client], object]
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._WHOLE_SECONDS", 0.2)
    began = time.monotonic()

    with pytest.raises(ApiError) as error:
        ask(answering(pieces()))
    assert error.value.status == 0
    assert time.monotonic() - began < 5


@ONE_BY_ONE
@pytest.mark.parametrize(
    "ask", [lambda client: client.get(PODS, Pod, 0.2), lambda client: client.create(PODS, {}, 0.2)]
)
def test_no_answer_takes_longer_than_the_caller_gives_it(
    pieces: Callable[[], Iterable[bytes]], ask: Callable[[Client], object]
) -> None:
    with pytest.raises(ApiError) as error:
        ask(answering(pieces()))
    assert error.value.status == 0


@pytest.mark.parametrize("ask", [*ASKS, lambda client: next(client.pages(PODS, Pod))])
def test_of_an_answer_without_an_end_no_more_is_read_than_any_object_has(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[Client], object]
) -> None:
    monkeypatch.setattr("exectrail.k8s.client._PAGE", 1)
    with pytest.raises(ApiError, match="Unreadable: the answer has more than 16777216 bytes") as error:
        ask(answering(itertools.repeat(b" " * 100_000)))
    assert error.value.status == 200


@pytest.mark.parametrize("pieces", [drip(), itertools.repeat(b"x" * 100_000)], ids=["slow", "large"])
def test_a_refusal_without_an_end_is_a_refusal(monkeypatch: pytest.MonkeyPatch, pieces: Iterable[bytes]) -> None:
    monkeypatch.setattr("exectrail.k8s.client._WHOLE_SECONDS", 0.5)

    with pytest.raises(ApiError) as error:
        answering(pieces, "404 Not Found").get(PODS, Pod)
    assert error.value.status == 404


def test_a_connection_serves_one_request_after_the_other(api: ApiServer, client: Client) -> None:
    client.create(PODS, {"metadata": {"name": "a"}}, 0.5)
    time.sleep(0.6)
    for _ in range(3):
        assert client.get(f"{PODS}/a", Pod).metadata.name == "a"
        with pytest.raises(ApiError):
            client.get(f"{PODS}/none", Pod)
        listed(client)

    assert len(api.sockets) == 1


def test_an_answer_of_another_shape_is_an_error(api: ApiServer, client: Client) -> None:
    api.canned = [(200, b'{"metadata": []}'), (200, b"<html>")]

    for _ in range(2):
        with pytest.raises(ApiError, match="Unreadable"):
            listed(client)


def test_a_dead_server_is_an_error_without_status_and_a_new_one_is_found_again(api: ApiServer, client: Client) -> None:
    client.create(PODS, {})
    api.stop()
    with pytest.raises(ApiError, match=r"127\.0\.0\.1") as error:
        client.create(PODS, {})
    api.start()
    client.create(PODS, {})

    assert (error.value.status, len(api.asked)) == (0, 2)


def test_a_name_that_does_not_resolve_is_an_error_without_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    with pytest.raises(ApiError) as error:
        listed(Client("https://kubernetes.invalid"))
    assert error.value.status == 0


def test_a_renewed_token_is_used_from_the_next_request_on(api: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    client = Client(api.url, token=token)
    for text in ("first", "second\n"):
        token.write_text(text)
        client.create(PODS, {})

    assert [asked.headers["Authorization"] for asked in api.asked] == ["Bearer first", "Bearer second"]


def test_a_token_that_is_gone_is_an_error_without_status(api: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="No such file") as error:
        Client(api.url, token=tmp_path / "token").create(PODS, {})
    assert error.value.status == 0


def test_outside_a_pod_there_is_no_pods_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(RuntimeError, match="not in a pod: KUBERNETES_SERVICE_HOST=None"):
        Client.in_cluster()


@pytest.mark.parametrize(
    ("host", "server"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pods_client_finds_the_api_server_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr("exectrail.k8s.client._SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").touch()

    assert Client.in_cluster().server == server
