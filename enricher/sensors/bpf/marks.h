/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which processes are a recorded container's wherever they go: root in a container that reaches the cgroup tree can
 * write itself into another cgroup. A mark is given in the container, copied at fork and taken away at exit.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "cgroups.h"
#include "kernel.h"
#include "pids.h"
#include "sample.h"

#define TICK 10000000 /* ns: user space knows a process's start in clock ticks only */

struct mark {
	__u64 start; /* clock ticks: with the pid, the process */
	__u64 container;
	__u32 how; /* BY_NAMESPACE if that is how it came in, else 0 */
	__u32 zero;
};

/*
 * By process id. A full table takes no more marks and that is counted; it does not drop old ones, or a fork bomb
 * would wash away the mark of the process that has just moved out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct mark);
} marks SEC(".maps");

/* Processes that found no room. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} unmarked SEC(".maps");

static __always_inline __u64 start_ticks(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime) / TICK;
}

/* The mark of the task's process, if its container is still recorded. */
static __always_inline struct mark *mark_of(struct config *from, struct task_struct *task)
{
	__u32 pid = pid_of(from, task);
	struct mark *mark = bpf_map_lookup_elem(&marks, &pid);

	if (!mark || mark->start != start_ticks(task) || !is_recorded(mark->container))
		return NULL;
	return mark;
}

static __always_inline void set_mark(struct config *from, struct task_struct *task, __u64 container, __u32 how)
{
	__u32 pid = pid_of(from, task);
	struct mark mark = { .start = start_ticks(task), .container = container, .how = how & BY_NAMESPACE };

	if (!pid || !bpf_map_update_elem(&marks, &pid, &mark, BPF_ANY))
		return;
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&unmarked, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline void drop_mark(__u32 pid)
{
	bpf_map_delete_elem(&marks, &pid);
}
