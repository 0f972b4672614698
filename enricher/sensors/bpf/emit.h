/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all programs do with what they found: fill a sample and send it, or count that there was no room. */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "filter.h"
#include "kernel.h"
#include "pids.h"
#include "sample.h"
#include "strings.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* the loader may set another size */
} ring SEC(".maps");

/* Samples that found the ring full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

/* What was not sent because the node has no id for its process: the machine put that into a pod, past the node. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} without_pid SEC(".maps");

static __always_inline void count(void *map)
{
	__u32 zero = 0;
	__u64 *so_far = bpf_map_lookup_elem(map, &zero);

	if (so_far)
		__sync_fetch_and_add(so_far, 1); /* where tracepoints can be preempted, per CPU is not enough */
}

static __always_inline void send(void *sample, __u64 size)
{
	if (bpf_ringbuf_output(&ring, sample, size, 0))
		count(&lost);
}

/* False, and counted, where there is nothing to send. */
static __always_inline bool fill_head(struct config *from, struct head *head, enum kind kind,
				      struct task_struct *task, const struct cgroup_ref *ref)
{
	head->kind = kind;
	head->how = ref->how;
	head->pid = pid_of(from, task);
	head->time = bpf_ktime_get_boot_ns();
	head->start = BPF_CORE_READ(task, group_leader, start_boottime);
	head->cgroup = ref->id;
	if (!head->pid)
		count(&without_pid);
	return head->pid;
}

static __always_inline void fill_identity(struct config *from, struct identity *identity, struct task_struct *task,
					  struct task_struct *parent)
{
	identity->parent_start = BPF_CORE_READ(parent, group_leader, start_boottime);
	identity->parent_pid = pid_of(from, parent);
	identity->uid = BPF_CORE_READ(task, cred, uid.val);
	identity->gid = BPF_CORE_READ(task, cred, gid.val);
}

/* The name of the container's folder; none of a cgroup that is not its container's, which would mislead. */
static __always_inline __u64 copy_cgroup_name(char *to, const struct cgroup_ref *ref)
{
	struct cgroup *cgroup = ref->cgroup;

	if (ref->how || ref->id != BPF_CORE_READ(cgroup, kn, id))
		return 0;
	return copy_string(to, CGROUP_NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));
}
