/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the kernel keeps what we read, and how we may read it. Every difference between kernels
 * has its place here.
 *
 * Offsets come as -D flags, read from the running kernel's BTF by probe/offsets.py. Without BTF
 * (THREADTRACE_KERNEL_HEADERS), the compiler takes them from the kernel's headers. */
#ifndef THREADTRACE_LAYOUT_H
#define THREADTRACE_LAYOUT_H

#ifdef THREADTRACE_KERNEL_HEADERS
#include <linux/cgroup.h>
#include <linux/kernfs.h>
#include <linux/sched.h>
#define TASK_FLAGS offsetof(struct task_struct, flags)
#define TASK_TGID offsetof(struct task_struct, tgid)
#define TASK_PID offsetof(struct task_struct, pid)
#define TASK_COMM offsetof(struct task_struct, comm)
#define TASK_CGROUPS offsetof(struct task_struct, cgroups)
#define TASK_GROUP_LEADER offsetof(struct task_struct, group_leader)
#define TASK_START_BOOTTIME offsetof(struct task_struct, start_boottime)
#define CSS_SET_PIDS offsetof(struct css_set, subsys[pids_cgrp_id])
#define CSS_CGROUP offsetof(struct cgroup_subsys_state, cgroup)
#define CGROUP_KN offsetof(struct cgroup, kn)
#define CGROUP_ROOT offsetof(struct cgroup, root)
#define CGROUP_ROOT_HIERARCHY_ID offsetof(struct cgroup_root, hierarchy_id)
#define KERNFS_NODE_ID offsetof(struct kernfs_node, id)
#define RETURN_VALUE(registers) PT_REGS_RC((struct pt_regs *)registers)
#else
#define RETURN_VALUE(registers) (*(u64 volatile *)((void *)(registers) + PT_REGS_RETURN_VALUE))
#define TASK_COMM_LEN 16
#define PF_KTHREAD 0x00200000 /* include/linux/sched.h */
#define CLONE_THREAD 0x00010000 /* include/uapi/linux/sched.h, like the next two */
#endif
#define CLONE_INTO_CGROUP 0x200000000ULL
#define CLONE_ARGS_CGROUP 80 /* offset in struct clone_args */

/* A member, read by a helper that checks the address: works in every program type. */
#define PEEK(type, base, offset)                                                                   \
	({                                                                                         \
		type value_ = 0;                                                                   \
		bpf_probe_read_kernel(&value_, sizeof(value_), (void *)(base) + (offset));         \
		value_;                                                                            \
	})

/* A member of an argument that the verifier knows by its BTF type: a plain load, a tenth of the
 * cost. Programs attached as BTF raw tracepoints only. */
#ifdef THREADTRACE_TYPED_ARGUMENTS
#define MEMBER(type, base, offset) (*(type volatile *)((void *)(base) + (offset)))
#else
#define MEMBER(type, base, offset) PEEK(type, base, offset)
#endif

/* The arguments of a raw tracepoint, typed or not. */
struct tracepoint_arguments {
	u64 argument[4];
};

/* What a refusal is told from. Each group is defined only where BTF has all of its members;
 * without, that cause cannot be told. Kernels without BTF have none: some of these structures are
 * private to a file of the kernel.
 *
 * READS_PIDS_CGROUPS: struct pids_cgroup (kernel/cgroup/pids.c).
 * READS_PID_NAMESPACES: pid_max became a member of the namespace in 6.14 (7863dcc72d0f); before,
 *   the node's, told by the agent, holds in every namespace (PID_NAMESPACE_PID_MAX absent).
 * READS_USER_COUNTS: struct ucounts counts RLIMIT_NPROC per user namespace from 5.14 on
 *   (21d1c5e386bc), in ucount[] before it moved to rlimit[] (de399236e240); before 5.14,
 *   user_struct.processes (USER_PROCESSES).
 * READS_OPEN_FILES: the way from a descriptor to the cgroup that CLONE_INTO_CGROUP names
 *   (kernel/cgroup/cgroup.c, cgroup_v1v2_get_from_file). */
#define PIDNS_ADDING (1U << 31) /* kernel/pid.c: the namespace takes new processes */
#define RESERVED_PIDS 300 /* kernel/pid.c: after the first wrap, lower ids are not given out */
#define INITIAL_USER_NAMESPACE 0xEFFFFFFDULL /* include/linux/proc_ns.h, PROC_USER_INIT_INO */
#define RLIMIT_NPROC 6 /* include/uapi/asm-generic/resource.h */
#define CAP_SYS_ADMIN_BIT (1ULL << 21)
#define CAP_SYS_RESOURCE_BIT (1ULL << 24)
#define MAX_CGROUP_DEPTH 24
#define MAX_NAMESPACE_DEPTH 16 /* the kernel allows 32; each level costs verification time */

/* Id of the cgroup, in the pids hierarchy, of a task whose pointer the verifier knows.
 * Not bpf_get_current_cgroup_id(): that is the version 2 hierarchy, where pids may not be, and
 * the caller, which CLONE_INTO_CGROUP makes differ from the child. */
static __always_inline u64 cgroup_id_of_argument(void *task)
{
	void *css_set = MEMBER(void *, task, TASK_CGROUPS);
	void *css = MEMBER(void *, css_set, CSS_SET_PIDS);
	void *cgroup = MEMBER(void *, css, CSS_CGROUP);
	void *kernfs_node = MEMBER(void *, cgroup, CGROUP_KN);

	return MEMBER(u64, kernfs_node, KERNFS_NODE_ID);
}

/* State of the pids controller in the cgroup of any other pointer to a task. */
static __always_inline void *pids_css_of(void *task)
{
	return PEEK(void *, PEEK(void *, task, TASK_CGROUPS), CSS_SET_PIDS);
}

/* The same in the cgroup whose directory is open as that descriptor; NULL where it is none, or of a
 * hierarchy without that controller. */
static __always_inline void *pids_css_of_fd(void *task, u32 fd)
{
#ifdef READS_OPEN_FILES
	void *table = PEEK(void *, PEEK(void *, task, TASK_FILES), FILES_FDT);
	void *file = PEEK(void *, PEEK(void *, table, FDTABLE_FD), fd * sizeof(void *));
	void *inode = PEEK(void *, PEEK(void *, file, FILE_DENTRY), DENTRY_INODE);
	void *cgroup = PEEK(void *, PEEK(void *, inode, INODE_PRIVATE), KERNFS_NODE_PRIV);

	return PEEK(void *, cgroup, CGROUP_PIDS);
#else
	return NULL;
#endif
}

static __always_inline u64 cgroup_id_of(void *task)
{
	void *css = pids_css_of(task);
	void *cgroup = PEEK(void *, css, CSS_CGROUP);
	void *kernfs_node = PEEK(void *, cgroup, CGROUP_KN);

	return PEEK(u64, kernfs_node, KERNFS_NODE_ID);
}

#endif
