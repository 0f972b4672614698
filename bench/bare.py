"""A webhook that does nothing: uvicorn, TLS, and one AdmissionReview for every caller. What ours is compared with."""

import sys

import uvicorn
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope

_ANSWER = (
    b'{"response":{"uid":"00000000-0000-4000-8000-000000000000","allowed":true},'
    b'"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}'
)


async def app(_scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read the body, then answer."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _ANSWER, "more_body": False})


if __name__ == "__main__":
    port, certificate, key = sys.argv[1:]
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        loop="asyncio",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=120,
    )
