/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Programs that processes failed to run. Only 64-bit calls: the tracepoints of system calls leave compat ones out.
 * At that point there is no new program yet, so the arguments are read where the caller has them.
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "emit.h"
#include "filter.h"
#include "kernel.h"
#include "sample.h"

#define MOST_FAILED_ARGUMENTS 64

struct exec_failed {
	struct head head;
	struct identity identity;
	__u32 error;
	__u32 filename_size;
	__u32 argv_size;
	__u32 truncated;
	char strings[CGROUP_NAME_SIZE + FILENAME_SIZE + 2 * FAILED_ARGV_SIZE]; /* the last argument may run over */
};

/*
 * Room for one per CPU, as `scratch` in sensor.bpf.c and for the same reasons: the kernel runs the programs of a
 * tracepoint with preemption off, and a system call that returns does so once at a time.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* the loader sets the number of possible CPUs */
	__type(key, __u32);
	__type(value, struct exec_failed);
} failed_scratch SEC(".maps");

/* The first three arguments of the system call that the task is in. */
static __always_inline bool read_arguments(__u64 arguments[3])
{
	/* Without the helper (Linux < 5.15) nothing leads to them. The verifier leaves out what it cannot reach. */
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return false;
	void *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct pt_regs___x86_64 *x86_64 = registers;
	struct pt_regs___arm64 *arm64 = registers;

	if (bpf_core_field_exists(x86_64->di)) {
		arguments[0] = BPF_CORE_READ(x86_64, di);
		arguments[1] = BPF_CORE_READ(x86_64, si);
		arguments[2] = BPF_CORE_READ(x86_64, dx);
		return true;
	}
	if (bpf_core_field_exists(arm64->orig_x0)) {
		arguments[0] = BPF_CORE_READ(arm64, orig_x0);
		arguments[1] = BPF_CORE_READ(arm64, regs[1]);
		arguments[2] = BPF_CORE_READ(arm64, regs[2]);
		return true;
	}
	return false;
}

/* Appends the arguments, each ended by NUL. What the kernel never looked at may not be in memory: then it is cut. */
static __always_inline void copy_failed_argv(struct exec_failed *sample, char *to, const __u64 *argv)
{
	/* Kept in the map for the verifier's sake, as `walk` does. */
	volatile __u32 *size = &sample->argv_size;

	sample->truncated = true;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MOST_FAILED_ARGUMENTS; i++) {
		__u64 used = *size & (2 * FAILED_ARGV_SIZE - 1);
		const char *argument = NULL;

		if (bpf_probe_read_user(&argument, sizeof(argument), argv + i))
			return;
		if (!argument) {
			sample->truncated = false;
			return;
		}
		if (used >= FAILED_ARGV_SIZE)
			return;
		long copied = bpf_probe_read_user_str(to + used, FAILED_ARGV_SIZE, argument);

		if (copied < 0)
			return;
		if (!copied)
			copied = 1; /* of an empty string, before Linux 6.16: the NUL is there, but was not counted */
		*size = used + copied;
		if (copied == FAILED_ARGV_SIZE)
			return;
	}
}

static __always_inline __u64 fill_failed_strings(struct exec_failed *sample, const struct cgroup_ref *ref,
						 const char *filename, const __u64 *argv)
{
	__u64 used = copy_cgroup_name(sample->strings, ref);

	sample->identity.cgroup_name_size = used;
	long copied = filename ? bpf_probe_read_user_str(sample->strings + used, FILENAME_SIZE, filename) : 0;
	__u64 length = copied > 0 ? copied - 1 : 0;

	barrier_var(length);
	length &= FILENAME_SIZE - 1;
	sample->filename_size = length;
	used += length;
	sample->argv_size = 0;
	copy_failed_argv(sample, sample->strings + used, argv);
	return used + (sample->argv_size & (2 * FAILED_ARGV_SIZE - 1));
}

/* `first` is which argument of the system call holds the file's name. */
static __always_inline void exec_failed(long result, int first)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct config *from = get_config();
	__u64 arguments[3] = {};
	struct cgroup_ref ref;

	if (result >= 0 || !from)
		return;
	if (!passes(from, &ref, task, task) && !passes_on_node(from, &ref, task))
		return;
	__u32 cpu = bpf_get_smp_processor_id();
	struct exec_failed *sample = bpf_map_lookup_elem(&failed_scratch, &cpu);

	if (!sample) {
		count(&lost);
		return;
	}
	read_arguments(arguments);
	if (!fill_head(from, &sample->head, EXEC_FAILED, task, &ref))
		return;
	fill_identity(from, &sample->identity, task, BPF_CORE_READ(task, real_parent));
	sample->error = -result;
	__u64 size = offsetof(struct exec_failed, strings) +
		     fill_failed_strings(sample, &ref, (void *)arguments[first], (void *)arguments[first + 1]);

	barrier_var(size);
	if (size <= sizeof(*sample)) /* always; the verifier wants to see it */
		send(sample, size);
}

SEC("tp/syscalls/sys_exit_execve")
int on_execve_result(struct trace_event_raw_sys_exit *ctx)
{
	exec_failed(ctx->ret, 0);
	return 0;
}

SEC("tp/syscalls/sys_exit_execveat")
int on_execveat_result(struct trace_event_raw_sys_exit *ctx)
{
	exec_failed(ctx->ret, 1);
	return 0;
}
