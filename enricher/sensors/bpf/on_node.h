/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The node's own processes: those outside of all pods. They are reported only while a pod to debug the node is open: a
 * user in one can have the node's daemons run programs (systemd-run, a runtime's socket).
 */
#pragma once

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

/* 1 while they are reported; user space sets it. An array: its look-up costs every process of the node next to nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} node_reported SEC(".maps");

static __always_inline bool node_is_reported(void)
{
	__u32 zero = 0;
	__u32 *reported = bpf_map_lookup_elem(&node_reported, &zero);

	return reported && *reported;
}
