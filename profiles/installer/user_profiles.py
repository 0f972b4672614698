"""Users' profiles on this node: SeccompProfiles and pods as the API has them, to files and node statuses."""

import logging
import threading
from collections.abc import Callable

from exectrail.contracts import spo
from exectrail.contracts.pod_profiles import files_of
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.mirror import Mirror
from exectrail.seccomp.withheld import PARTIAL_LABEL
from profiles.installer import metrics
from profiles.installer.contents import Allowed, Contents, SeccompProfile
from profiles.installer.node_statuses import NodeStatuses
from profiles.installer.operator_folder import OperatorFolder
from profiles.installer.pods import Pod, named_by_all
from profiles.installer.profile_files import ProfileFiles

PROFILES_PATH = f"/apis/{spo.GROUP_VERSION}/{spo.SECCOMP_PROFILES}"
PODS_PATH = "/api/v1/pods"

log = logging.getLogger(__name__)


class UserProfiles:
    """Follows the API once it serves SeccompProfiles.

    Args:
        client: The API server.
        node: This node's name.
        folder: Where the files go.
        allowed: What profiles may allow.

    """

    def __init__(self, client: Client, node: str, folder: OperatorFolder, allowed: Callable[[], Allowed]) -> None:
        self.changed: Callable[[], None] = lambda: None
        """To be called, from any thread, when there is something to do."""
        self.progressed: Callable[[], None] = lambda: None
        """To be called in the middle of a long `update`."""
        self._client = client
        self._of_node = f"spec.nodeName={node}"
        self._profiles = Mirror(client, PROFILES_PATH, SeccompProfile, self._profile_changed)
        self._pods = Mirror(client, PODS_PATH, Pod, self._pod_changed, few=True, fieldSelector=self._of_node)
        self._contents = Contents(self._profiles.objects, allowed)
        self._files = ProfileFiles(folder, self._content, self._named, self._named_now)
        self._statuses = NodeStatuses(client, node, progressed=self._progress)
        self._served: bool | None = None

    @property
    def failure(self) -> str | None:
        """Why the files are not as they should be, where the node is to blame."""
        return self._files.failure

    def update(self) -> bool:
        """Bring files and statuses up to date; whether all of it succeeded."""
        try:
            if not self._is_served() or not self._profiles.synced.is_set():
                return True
            wanted = self._contents.wanted()
            states = self._files.update(wanted)
            metrics.count_states(states.values())
            existing = {name: profile.metadata for name, profile in dict(self._profiles.objects).items()}
            return self._statuses.update(states, existing) == 0 and self.failure is None
        except ApiError as error:
            log.warning("cannot talk to the API: %s; what is on the node stays", error)
            return False

    def stop(self) -> None:
        """End the mirrors at their next event."""
        self._profiles.stop()
        self._pods.stop()

    def _is_served(self) -> bool:
        """Whether the API serves SeccompProfiles. From then on they are followed."""
        if self._served:
            return True
        try:
            next(self._client.pages(PROFILES_PATH, SeccompProfile))
        except ApiError as error:
            if error.status != 404:
                raise
            if self._served is None:
                log.info("the API serves no SeccompProfiles: only built-in profiles are installed")
            self._served = False
            return False
        self._served = True
        self._profiles.start()
        self._pods.start()
        threading.Thread(target=self._await_lists, name="first lists", daemon=True).start()
        return True

    def _await_lists(self) -> None:
        for mirror in (self._profiles, self._pods):
            mirror.synced.wait()
            self.changed()

    def _profile_changed(self, old: SeccompProfile | None, new: SeccompProfile | None) -> None:
        # The controller writes each profile's status, which is none of our business.
        if old is None or new is None or _seen(old) != _seen(new):
            self.changed()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        before = files_of(old) if old else frozenset()
        if before - (files_of(new) if new else frozenset()):
            self.changed()

    def _progress(self) -> None:
        self.progressed()

    def _content(self, name: str) -> bytes:
        self.progressed()  # each file is synced to the disk, which may be slow
        return self._contents.of(name)

    def _named(self) -> frozenset[str] | None:
        return named_by_all(list(self._pods.objects.values())) if self._pods.synced.is_set() else None

    def _named_now(self) -> frozenset[str] | None:
        if not self._pods.synced.is_set():
            return None
        try:
            pages = self._client.pages(PODS_PATH, Pod, fieldSelector=self._of_node)
            return named_by_all(pod for page in pages for pod in page.items)
        except ApiError as error:
            log.warning("no profile is removed, because the node's pods are not known: %s", error)
            return None


def _seen(profile: SeccompProfile) -> tuple[str, str | None, bool, bytes]:
    meta = profile.metadata
    return meta.uid, meta.deletion_timestamp, PARTIAL_LABEL in meta.labels, bytes(profile.spec)
