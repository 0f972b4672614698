/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes through the ring, in the machine's byte order: a fixed part, then its strings in a row, without NUL. */
#pragma once

#include <linux/types.h>

#define CGROUP_NAME_SIZE 128 /* with NUL, as the two below are powers of two: sizes are bounded by masks */
#define FILENAME_SIZE 4096   /* PATH_MAX */
#define ARGV_SIZE 65536      /* one byte of it stays unused */

enum kind { FORK = 1, EXEC = 2, EXIT = 3 };

struct head {
	__u32 kind;
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

struct fork {
	struct head head;
	struct identity identity;
	char cgroup_name[CGROUP_NAME_SIZE];
};

struct exec {
	struct head head;
	struct identity identity;
	__u32 ns_pid;
	__u32 filename_size;
	__u32 argv_size;
	__u8 seccomp;
	__u8 truncated;
	__u16 zero;
	char strings[CGROUP_NAME_SIZE + FILENAME_SIZE + ARGV_SIZE];
};

struct exit {
	struct head head;
	__u32 status; /* as wait(2) reports it */
	__u32 zero;
};
