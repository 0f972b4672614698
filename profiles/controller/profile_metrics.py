"""Metrics of SeccompProfiles, by the Security Profiles Operator's names: its dashboards and alerts go on working."""

from prometheus_client import Counter

PROFILES = Counter(
    "security_profiles_operator_seccomp_profile",
    "SeccompProfiles that became Installed on all nodes (update), or went for good (delete).",
    ["operation"],
)
ERRORS = Counter(
    "security_profiles_operator_seccomp_profile_error",
    "Problems of SeccompProfiles, by reason: counted when one comes or changes.",
    ["reason"],
)

for _operation in ("update", "delete"):
    PROFILES.labels(_operation)
