/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's structures, as far as the ledger reads them: CO-RE finds the fields by name in the BTF of the kernel
 * it is loaded into, wherever they lie there. What follows `___` in a name is for us only.
 */
#pragma once

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct kernfs_node {
	const char *name;
	__u64 id;
};

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[0]; /* Linux >= 6.1 */
};

struct cgroup___before_6_1 {
	__u64 ancestor_ids[0];
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
};

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[0];
};

struct seccomp {
	int mode;
};

#define SECCOMP_MODE_FILTER 2 /* include/uapi/linux/seccomp.h */

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
};

struct linux_binprm {
	const char *filename;
};

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	const struct cred *cred;
	struct signal_struct *signal;
	struct seccomp seccomp; /* absent without CONFIG_SECCOMP */
	struct css_set *cgroups;
	struct mm_struct *mm;
};

#pragma clang attribute pop
