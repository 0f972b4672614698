"""Health endpoints and the Kubernetes API, as the cluster's administrator."""

import json
import ssl
import urllib.request
from functools import cache
from typing import Any

from . import pki
from .config import API_SERVER


def healthy(url: str, certificate: str = "admin") -> bool:
    """Whether `url` answers 200; `certificate` names the client certificate to show."""
    try:
        _get(url, certificate)
    except OSError:  # refused, reset, timed out, bad certificate, any status but success
        return False
    return True


def get(path: str) -> Any | None:
    """The object or list at an API `path`; None if it isn't there, or the API isn't."""
    text = get_text(path)
    return None if text is None else json.loads(text)


def get_text(path: str) -> str | None:
    """What is at an API `path`, likewise."""
    try:
        return _get(API_SERVER + path, "admin").decode()
    except OSError:
        return None


def _get(url: str, certificate: str) -> bytes:
    context = _context(certificate) if url.startswith("https:") else None
    # No proxy from the environment: these are addresses of this machine.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
        content: bytes = answer.read()
        return content


@cache
def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.CA))
    context.load_cert_chain(pki.file(certificate, "crt"), pki.file(certificate, "key"))
    return context
