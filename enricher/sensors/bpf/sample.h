/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes through the ring, in the machine's byte order: a fixed part, then its strings in a row. */
#pragma once

#include <linux/types.h>

#define CGROUP_NAME_SIZE 256 /* NAME_MAX with NUL; as the two below a power of two: sizes are bounded by masks */
#define FILENAME_SIZE 4096   /* PATH_MAX */
#define ARGV_SIZE 65536      /* one byte of it stays unused */
#define WALK_SIZE 4096       /* names of folders on the way up to the root */
#define FAILED_ARGV_SIZE 4096

enum kind { FORK = 1, EXEC = 2, EXIT = 3, EXEC_FAILED = 4 };

/* How a task outside its container's cgroup was known, or that it is the node's own; else 0. */
enum how { MOVED_OUT = 1, BY_NAMESPACE = 2, ON_NODE = 3 };

/* About a path that was put together from the names of the folders above a file. */
enum walked { CUT = 1, DELETED = 2, UNREACHABLE = 4 };

struct head {
	__u8 kind;
	__u8 how;
	__u16 zero;
	__u32 pid;
	__u64 time;  /* ns, CLOCK_BOOTTIME, as all times here */
	__u64 start; /* of the process, that is of its thread group's leader */
	__u64 cgroup;
};

struct identity {
	__u64 parent_start;
	__u32 parent_pid;
	__u32 uid;
	__u32 gid;
	__u32 cgroup_name_size;
};
