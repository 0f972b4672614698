/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's structures, as far as the sensor reads them: CO-RE finds the fields by name in the BTF of the kernel
 * it is loaded into, wherever they lie there. What follows `___` in a name is for us only.
 */
#pragma once

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* ---- cgroups ---- */

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

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[0]; /* by cgroup_subsys_id: where the task is in each v1 hierarchy */
	struct cgroup *dfl_cgrp;               /* and in the v2 tree */
};

enum cgroup_subsys_id { memory_cgrp_id, pids_cgrp_id }; /* CO-RE puts in the kernel's own numbers */

/* ---- namespaces ---- */

struct ns_common {
	unsigned int inum;
};

struct ns_common___since_6_18 {
	__u64 ns_id;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct mnt_namespace___since_6_18 {
	struct ns_common___since_6_18 ns;
};

struct mnt_namespace___before_6_18 {
	__u64 seq;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct pid_namespace {
	struct task_struct *child_reaper;
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[0];
};

/* ---- files ---- */

struct qstr {
	const unsigned char *name;
};

struct hlist_bl_node {
	struct hlist_bl_node **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

/* ---- processes ---- */

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

struct seccomp {
	int mode;
};

#define SECCOMP_MODE_FILTER 2 /* include/uapi/linux/seccomp.h */

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
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
	struct nsproxy *nsproxy;
	struct fs_struct *fs;
	struct mm_struct *mm;
};

/* ---- a system call's arguments, by machine ---- */

struct pt_regs___x86_64 {
	unsigned long di;
	unsigned long si;
	unsigned long dx;
};

struct pt_regs___arm64 {
	__u64 regs[31];
	__u64 orig_x0; /* regs[0] holds the result by the time the call returns */
};

/* ---- what programs are given ---- */

struct trace_event_raw_sys_exit {
	long ret;
};

struct bpf_iter__task {
	struct task_struct *task;
};

#pragma clang attribute pop
