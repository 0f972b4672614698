/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which tasks pass: those in a pod, but for containers that user space ignores; those that carry a recorded container's
 * mark; those in a recorded container's namespaces. While a pod to debug the node is open, also those outside of all
 * pods, when they run a program or end.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>

#include "cgroups.h"
#include "kernel.h"
#include "marks.h"
#include "namespaces.h"
#include "on_node.h"
#include "sample.h"

struct cgroup_ref {
	struct cgroup *cgroup; /* the task's own */
	__u64 own;             /* its container, if that is recorded; else 0 */
	__u64 id;              /* the cgroup that the event reports: the container's, once that is decided */
	__u32 how;
	bool in_a_pod;
};

/* A mark goes before the cgroup: a process that moves into another container's is still the first one's. */
static __always_inline bool passes_by_mark(struct cgroup_ref *ref, struct mark *mark)
{
	if (!mark)
		return false;
	if (ref->own != mark->container) {
		ref->id = mark->container;
		ref->how = mark->how ? mark->how : MOVED_OUT;
	}
	return true;
}

static __always_inline bool passes_by_cgroup(struct config *from, struct cgroup_ref *ref, struct task_struct *task)
{
	struct cgroup *cgroup = cgroup_of(from, task);
	__u64 container = 0;
	enum decision decision = decision_for(from, cgroup, &container);

	ref->how = 0;
	ref->in_a_pod = decision != NOT_IN_A_POD;
	ref->cgroup = cgroup;
	ref->own = decision == RECORD ? container : 0;
	ref->id = 0;
	if (decision != UNDECIDED && decision != RECORD)
		return false;
	/* A cgroup that a recorded container has made may be gone, or bear another one's name, before user space looks. */
	ref->id = ref->own ? ref->own : BPF_CORE_READ(cgroup, kn, id);
	return true;
}

static __always_inline bool passes_by_namespace(struct config *from, struct cgroup_ref *ref, struct task_struct *task)
{
	__u64 container = container_by_namespace(from, task);

	ref->id = container;
	ref->how = BY_NAMESPACE;
	return container;
}

/* Where the task is, if it passes; `marked` is whose mark counts for it. */
static __always_inline bool passes(struct config *from, struct cgroup_ref *ref, struct task_struct *task,
				   struct task_struct *marked)
{
	bool by_cgroup = passes_by_cgroup(from, ref, task);

	return passes_by_mark(ref, mark_of(from, marked)) || by_cgroup || passes_by_namespace(from, ref, task);
}

/*
 * Whether it passes as one of the node's own, after all else: `ref` is filled. It never gets a mark, or the runtime's
 * helpers would take the containers that they enter along.
 */
static __always_inline bool passes_on_node(struct config *from, struct cgroup_ref *ref, struct task_struct *task)
{
	if (!node_is_reported() || ref->in_a_pod || !pid_of(from, task))
		return false;
	ref->id = 0;
	ref->how = ON_NODE;
	return true;
}

/* From now on the process passes wherever it goes. A container that is undecided gives no mark: the sweep will. */
static __always_inline void keep(struct config *from, struct cgroup_ref *ref, struct task_struct *task)
{
	__u64 container = ref->how ? ref->id : ref->own;

	if (container)
		set_mark(from, task, container, ref->how);
}
