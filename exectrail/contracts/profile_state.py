"""What exectrail's parts say to each other in statuses of the Security Profiles Operator's kinds."""

REASON_ANNOTATION = "exectrail.io/reason"
MESSAGE_ANNOTATION = "exectrail.io/message"
"""On a SecurityProfileNodeStatus: why the profile is not in place there."""
LAST_GOOD_ANNOTATION = "exectrail.io/last-good-file"
"""On the same: `true` where the file of an earlier good version stays."""

AVAILABLE = "Available"
"""The condition of a SeccompProfile that new containers are bound to, although its status may say `Error`."""
