"""Reads the key of command hashes, which the webhook makes at its first start, from its Secret."""

import logging
import threading
import time

from enricher.correlate.request_index import RequestIndex
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.command_key import NoKey, UnusableKey, read_key

_EVERY = 5.0

log = logging.getLogger(__name__)


def follow(client: Client, namespace: str, name: str, asked: RequestIndex) -> None:
    """Give `asked` the key as soon as it is there, from a thread of its own; until then texts are compared."""
    threading.Thread(target=_follow, args=(client, namespace, name, asked), name="command-key", daemon=True).start()


def _follow(client: Client, namespace: str, name: str, asked: RequestIndex) -> None:
    while asked.key is None:
        try:
            asked.key = read_key(client, namespace, name)
        except UnusableKey as error:
            log.error("commands are compared by their text: %s", error)
            return
        except (ApiError, NoKey) as error:
            log.info("no key of command hashes yet: %s", error)
            time.sleep(_EVERY)
