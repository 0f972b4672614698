/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Copies a string of the kernel; returns its length without NUL, below `size` (a power of 2) as the verifier sees. */
static __always_inline __u64 copy_string(char *to, __u32 size, const void *from)
{
	long copied = bpf_probe_read_kernel_str(to, size, from);
	__u64 length = copied > 0 ? copied - 1 : 0;

	barrier_var(length); /* or the compiler drops the mask, which the verifier needs */
	return length & (size - 1);
}
