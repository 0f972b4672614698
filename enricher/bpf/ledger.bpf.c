// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The process ledger of the pods on a node: which processes start, which programs they run, how they end.
 *
 * Three raw tracepoints and one ring buffer. A task passes when its cgroup lies under the kubepods cgroup and user
 * space has not said that its container is to be ignored; everything else ends here and costs user space nothing.
 * Linux >= 5.11 with BTF; reads go through CO-RE, so one object serves every kernel and needs no vmlinux.h.
 * The samples' layout (sample.h) is read by decode.py.
 */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "filter.h"
#include "kernel.h"
#include "sample.h"

/* ---- maps ---- */

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

struct process {
	__u64 start;
	__u64 pid;
};

/* Processes whose exit was sent, against the race told in `ended`; entries matter for microseconds only. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct process);
	__type(value, __u8);
} exited SEC(".maps");

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

/* ---- what the programs share ---- */

static __always_inline void count_lost(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&lost, &zero);

	if (count)
		__sync_fetch_and_add(count, 1); /* where tracepoints can be preempted, per CPU is not enough */
}

static __always_inline void send(void *sample, __u64 size)
{
	if (bpf_ringbuf_output(&ring, sample, size, 0))
		count_lost();
}

static __always_inline void fill_head(struct head *head, enum kind kind, struct task_struct *task,
				      struct cgroup *cgroup)
{
	head->kind = kind;
	head->pid = BPF_CORE_READ(task, tgid);
	head->time = bpf_ktime_get_boot_ns();
	head->start = BPF_CORE_READ(task, group_leader, start_boottime);
	head->cgroup = BPF_CORE_READ(cgroup, kn, id);
}

static __always_inline void fill_identity(struct identity *identity, struct task_struct *task,
					  struct task_struct *parent)
{
	identity->parent_start = BPF_CORE_READ(parent, group_leader, start_boottime);
	identity->parent_pid = BPF_CORE_READ(parent, tgid);
	identity->uid = BPF_CORE_READ(task, cred, uid.val);
	identity->gid = BPF_CORE_READ(task, cred, gid.val);
}

/* Copies a string of the kernel; returns its length without NUL, below `size` (a power of 2) as the verifier sees. */
static __always_inline __u64 copy_string(char *to, __u32 size, const char *from)
{
	long copied = bpf_probe_read_kernel_str(to, size, from);
	__u64 length = copied > 0 ? copied - 1 : 0;

	barrier_var(length); /* or the compiler drops the mask, which the verifier needs */
	return length & (size - 1);
}

/* ---- fork ---- */

SEC("raw_tp/sched_process_fork")
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *creator = (void *)ctx->args[0];
	struct task_struct *child = (void *)ctx->args[1];

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0; /* a thread */
	struct cgroup *cgroup = watched_cgroup(child);

	if (!cgroup)
		return 0;
	struct fork sample = {};

	fill_head(&sample.head, FORK, child, cgroup);
	/* The creator, not child->real_parent: with CLONE_PARENT that is the grandparent, and the line would break. */
	fill_identity(&sample.identity, child, creator);
	__u64 length = copy_string(sample.cgroup_name, CGROUP_NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));

	sample.identity.cgroup_name_size = length;
	send(&sample, offsetof(struct fork, cgroup_name) + length);
	return 0;
}

/* ---- exec ---- */

/* The pid in the innermost pid namespace of the task. */
static __always_inline __u32 innermost_pid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u64 offset = bpf_core_field_offset(struct pid, numbers) + bpf_core_field_offset(struct upid, nr) +
		       BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid);
	int number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), (void *)pid + offset);
	return number;
}

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

SEC("raw_tp/sched_process_exec")
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct linux_binprm *binprm = (void *)ctx->args[2];
	struct cgroup *cgroup = watched_cgroup(task);

	if (!cgroup)
		return 0;
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec *sample = bpf_map_lookup_elem(&scratch, &cpu);

	if (!sample) {
		count_lost();
		return 0;
	}
	fill_head(&sample->head, EXEC, task, cgroup);
	fill_identity(&sample->identity, task, BPF_CORE_READ(task, real_parent));
	sample->ns_pid = innermost_pid(task);
	sample->seccomp = has_seccomp_filter(task);

	__u64 used = copy_string(sample->strings, CGROUP_NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));

	sample->identity.cgroup_name_size = used;
	__u64 length = copy_string(sample->strings + used, FILENAME_SIZE, BPF_CORE_READ(binprm, filename));

	sample->filename_size = length;
	used += length;
	length = copy_argv(sample, sample->strings + used, task);
	sample->argv_size = length;

	__u64 size = offsetof(struct exec, strings) + used + length;

	barrier_var(size);
	if (size <= sizeof(*sample)) /* always; the verifier wants to see it */
		send(sample, size);
	return 0;
}

/* ---- exit ---- */

/*
 * Whether the whole process has ended and nobody has told so yet. `live` counts down before the tracepoint, so the
 * last thread always finds 0; but two threads that end together may both find it. The first to enter the process
 * wins. Any failure other than "is there already" sends the exit: twice is better than never.
 */
static __always_inline bool ended(struct task_struct *task, const struct head *head)
{
	if (BPF_CORE_READ(task, signal, live.counter))
		return false;
	struct process process = { .start = head->start, .pid = head->pid };
	__u8 sent = 1;

	return bpf_map_update_elem(&exited, &process, &sent, BPF_NOEXIST) != -17 /* EEXIST */;
}

/* As the kernel's wait_task_zombie. */
static __always_inline __u32 wait_status(struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		return BPF_CORE_READ(task, signal, group_exit_code);
	return BPF_CORE_READ(task, group_leader, exit_code);
}

SEC("raw_tp/sched_process_exit")
int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct cgroup *cgroup = watched_cgroup(task);

	if (!cgroup)
		return 0;
	struct exit sample = {};

	fill_head(&sample.head, EXIT, task, cgroup);
	if (!ended(task, &sample.head))
		return 0;
	sample.status = wait_status(task);
	send(&sample, sizeof(sample));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
