// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The sensor `bpf`, in the kernel: which processes start in the pods on a node, which programs they run or fail to run,
 * how they end.
 *
 * Three raw tracepoints, two of system calls, one ring buffer. What does not pass the filter (filter.h) ends here and
 * costs user space nothing. An iterator goes over the processes that are there before anything happens to them.
 * Linux >= 5.11 with BTF; reads go through CO-RE, so one object serves every kernel and machine and needs no
 * vmlinux.h. The samples' layout (sample.h, and the structures here) is read by decode.py.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "emit.h"
#include "failed.h"
#include "filter.h"
#include "kernel.h"
#include "sample.h"
#include "strings.h"
#include "sweep.h"
#include "walk.h"

/* ---- fork ---- */

struct fork {
	struct head head;
	struct identity identity;
	char cgroup_name[CGROUP_NAME_SIZE];
};

SEC("raw_tp/sched_process_fork")
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *creator = (void *)ctx->args[0];
	struct task_struct *child = (void *)ctx->args[1];
	struct config *from = get_config();
	struct cgroup_ref ref;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0; /* a thread */
	if (!from || !passes(from, &ref, child, creator))
		return 0;
	keep(from, &ref, child);
	struct fork sample = {};

	if (!fill_head(from, &sample.head, FORK, child, &ref))
		return 0;
	/* The creator, not child->real_parent: with CLONE_PARENT that is the grandparent, and the line would break. */
	fill_identity(from, &sample.identity, child, creator);
	__u64 length = copy_cgroup_name(sample.cgroup_name, &ref);

	sample.identity.cgroup_name_size = length;
	send(&sample, offsetof(struct fork, cgroup_name) + length);
	return 0;
}

/* ---- exec ---- */

/* Strings: cgroup's name, filename, argv; then the names on the way up from the program's file and from the cwd. */
struct exec {
	struct head head;
	struct identity identity;
	__u32 filename_size;
	__u32 argv_size;
	__u32 path_size;
	__u32 cwd_size;
	__u8 seccomp;
	__u8 mounts_of_parent; /* in the same mount namespace: the runtime's own is, before it goes in */
	__u8 truncated;
	__u8 path; /* enum walked */
	__u8 cwd;  /* enum walked */
	char strings[CGROUP_NAME_SIZE + FILENAME_SIZE + ARGV_SIZE + 4 * WALK_SIZE]; /* of the last part half is for the verifier */
};

/*
 * Room for one exec per CPU: an array by CPU id, because values of per-CPU maps end at 32 KiB (E2BIG above).
 * No second exec on the same CPU can write into the first one's: tracepoints run with preemption off, the program
 * never sleeps, and no exec happens in an interrupt. Where a kernel lets tracepoints be preempted, it refuses to
 * start the same program again on that CPU meanwhile (since 6.2) and counts it (recursion_misses), which the
 * loader adds to the lost samples. So only `on_exec` may use it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* the loader sets the number of possible CPUs */
	__type(key, __u32);
	__type(value, struct exec);
} scratch SEC(".maps");

static __always_inline bool has_seccomp_filter(struct task_struct *task)
{
	return bpf_core_field_exists(task->seccomp) && BPF_CORE_READ(task, seccomp.mode) == SECCOMP_MODE_FILTER;
}

/* Copies the arguments of the program that was just put in place; all of them still stand where execve wrote them. */
static __always_inline __u64 copy_argv(struct exec *sample, char *to, struct task_struct *task)
{
	__u64 from = BPF_CORE_READ(task, mm, arg_start);
	__u64 length = BPF_CORE_READ(task, mm, arg_end) - from;

	sample->truncated = length > ARGV_SIZE - 1;
	if (sample->truncated)
		length = ARGV_SIZE - 1;
	barrier_var(length);
	length &= ARGV_SIZE - 1;
	if (bpf_probe_read_user(to, length, (void *)from)) {
		sample->truncated = true; /* a page was swapped out again: nothing was copied */
		return 0;
	}
	return length;
}

/* Appends all strings; returns their size. */
static __always_inline __u64 fill_strings(struct exec *sample, const struct cgroup_ref *ref, struct task_struct *task,
					  struct linux_binprm *binprm)
{
	struct path root, program, cwd;
	__u64 used, length;

	used = copy_cgroup_name(sample->strings, ref);
	sample->identity.cgroup_name_size = used;

	length = copy_string(sample->strings + used, FILENAME_SIZE, BPF_CORE_READ(binprm, filename));
	sample->filename_size = length;
	used += length;

	length = copy_argv(sample, sample->strings + used, task);
	sample->argv_size = length;
	used += length;

	BPF_CORE_READ_INTO(&root, task, fs, root);
	BPF_CORE_READ_INTO(&cwd, task, fs, pwd);
	BPF_CORE_READ_INTO(&program, task, mm, exe_file, f_path);

	sample->path = walk(sample->strings + used, &sample->path_size, program, root);
	used += sample->path_size & (2 * WALK_SIZE - 1);
	sample->cwd = walk(sample->strings + used, &sample->cwd_size, cwd, root);
	return used + (sample->cwd_size & (2 * WALK_SIZE - 1));
}

SEC("raw_tp/sched_process_exec")
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct linux_binprm *binprm = (void *)ctx->args[2];
	struct config *from = get_config();
	struct cgroup_ref ref;

	if (!from || !(passes(from, &ref, task, task) || passes_on_node(from, &ref, task)))
		return 0;
	keep(from, &ref, task);
	if (ref.own)
		learn_mount_namespace(from, task, ref.own);
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec *sample = bpf_map_lookup_elem(&scratch, &cpu);

	if (!sample) {
		count(&lost);
		return 0;
	}
	if (!fill_head(from, &sample->head, EXEC, task, &ref))
		return 0;
	fill_identity(from, &sample->identity, task, BPF_CORE_READ(task, real_parent));
	sample->seccomp = has_seccomp_filter(task);
	sample->mounts_of_parent = mount_namespace(task) == mount_namespace(BPF_CORE_READ(task, real_parent));
	__u64 size = offsetof(struct exec, strings) + fill_strings(sample, &ref, task, binprm);

	barrier_var(size);
	if (size <= sizeof(*sample)) /* always; the verifier wants to see it */
		send(sample, size);
	return 0;
}

/* ---- exit ---- */

struct exit {
	struct head head;
	__u32 status; /* as wait(2) reports it */
	__u32 zero;
};

struct process {
	__u64 start;
	__u64 pid;
};

/* Processes whose exit was sent, against the race described at `is_first_to_report`; entries matter for microseconds only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process);
	__type(value, __u8);
} exited SEC(".maps");

/*
 * Whether the end of this process, whose last thread is here, is not reported yet: two threads that end together may
 * both be the last. The first to enter the process wins. Any failure other than "is there already" sends the exit:
 * twice is better than never.
 */
static __always_inline bool is_first_to_report(const struct head *head)
{
	struct process process = { .start = head->start, .pid = head->pid };
	__u8 sent = 1;

	/* As an int, which is what it was before Linux 6.4: there the upper half of the register is not the sign's. */
	return (int)bpf_map_update_elem(&exited, &process, &sent, BPF_NOEXIST) != -17 /* EEXIST */;
}

/* As the kernel's wait_task_zombie. */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

static __always_inline void send_exit(struct config *from, struct task_struct *task, const struct cgroup_ref *ref)
{
	struct exit sample = {};

	if (!fill_head(from, &sample.head, EXIT, task, ref) || !is_first_to_report(&sample.head))
		return;
	sample.status = wait_status(task);
	send(&sample, sizeof(sample));
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct config *from = get_config();
	struct cgroup_ref ref;

	/* It counts down before the tracepoint, so the last thread always finds 0. */
	if (!from || BPF_CORE_READ(task, signal, live.counter))
		return 0;
	/* Not by namespace: what has neither run a program there nor forked, as the runtime's helpers, was not reported. */
	bool by_cgroup = passes_by_cgroup(from, &ref, task);

	if (passes_by_mark(&ref, mark_of(from, task)) || by_cgroup || passes_on_node(from, &ref, task))
		send_exit(from, task, &ref);
	drop_mark(pid_of(from, task));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
