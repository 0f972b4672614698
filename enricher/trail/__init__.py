"""The trail's way to the disk: sealed, in segments, through full disks and vanished volumes."""
