/* SPDX-License-Identifier: GPL-2.0-only */
/* Which limit refused a clone, told in the same instant from what the kernel compares. */
#ifndef THREADTRACE_VERDICT_H
#define THREADTRACE_VERDICT_H

#include "layout.h"
#include "maps.h"

#define ERROR_AGAIN 11
#define ERROR_NO_MEMORY 12
#define ERROR_NO_SPACE 28
#define ERROR_USERS 87

#define UNKNOWN_READING (-1)
#define NO_ROOM_KNOWN (1LL << 62)
#define LONGEST 0x7fffffffffffffffULL /* RLIM_INFINITY becomes LONG_MAX */

/* A limit and what is held of it. */
struct reading {
	u64 owner;
	s64 usage;
	s64 limit_value;
	s64 room; /* what is left, 0 where nothing is */
	u32 level;
};

/* What was found so far. A limit that was reached beats one that may have been, and of two that
 * were reached the first in the kernel's order refused. Where none is reached any more, since a
 * task left between the refusal and this look, the one that is nearest did. */
struct verdict {
	struct reading reading;
	u32 limit;
	u32 reached;
	u32 possible; /* bit 1 << limit for each that may have refused; 0: all */
	bool is_certain;
};

/* How far from its limit a reading may be and still explain the refusal: tasks that left since. */
static __always_inline s64 slack(s64 limit_value)
{
	return 16 + (limit_value >> 6);
}

/* All bits for a negative number, none otherwise. Kept from the compiler, which would make a branch
 * of it: the verifier follows every branch, and in a loop there are too many. */
static __always_inline s64 mask_of_negative(s64 number)
{
	s64 mask = number >> 63;

	asm volatile("" : "+r"(mask));
	return mask;
}

static __always_inline s64 room_of(s64 usage, s64 limit_value)
{
	s64 room = limit_value - usage;

	return room & ~mask_of_negative(room);
}

/* Of several limits of one kind the first that is reached, else the nearest. */
static __always_inline void nearer(struct reading *found, u64 owner, s64 usage, s64 limit_value)
{
	s64 room = room_of(usage, limit_value);
	s64 this = mask_of_negative(room - found->room);

	found->owner = (owner & this) | (found->owner & ~this);
	found->usage = (usage & this) | (found->usage & ~this);
	found->limit_value = (limit_value & this) | (found->limit_value & ~this);
	found->room = (room & this) | (found->room & ~this);
}

static __always_inline void consider(struct verdict *verdict, u32 limit, struct reading *found)
{
	s64 far = slack(found->limit_value);

	if (!found->room)
		verdict->reached |= 1U << limit;
	if (verdict->possible && !(verdict->possible & 1U << limit))
		return;
	/* The stage was seen. Then much may have left since; but one that is hardly used is not it:
	 * before 5.15 it is not known that the clone was into another cgroup. */
	if (verdict->possible == 1U << limit)
		far += found->limit_value >> 1;
	if (verdict->is_certain || found->room >= verdict->reading.room || found->room > far)
		return;
	verdict->reading = *found;
	verdict->limit = limit;
	verdict->is_certain = !found->room;
}

static __always_inline u64 node_limit(u32 which)
{
	u64 *value = node_limits.lookup(&which);

	return value ? *value : 0;
}

#ifdef READS_USER_COUNTS
static __always_inline u64 user_of(u32 uid, void *user_namespace)
{
	return uid | (u64)PEEK(u32, user_namespace, USER_NAMESPACE_INODE) << 32;
}

/* is_rlimit_overlimit (kernel/ucount.c): the user's count against the task's limit, then that of
 * the user who made the namespace against what its limit was when it did, and so on upwards. The
 * nearest of them; found->room stays NO_ROOM_KNOWN where the task is held to none. */
static __always_inline void nearest_user_limit(struct reading *found, void *task)
{
	void *cred = PEEK(void *, task, TASK_REAL_CRED);
	void *own_cred = PEEK(void *, task, TASK_CRED);
	void *user_namespace = PEEK(void *, cred, CRED_USER_NS);
	void *signal = PEEK(void *, task, TASK_SIGNAL);
	u32 uid = PEEK(u32, cred, CRED_UID);
	u32 level = PEEK(u32, user_namespace, USER_NAMESPACE_LEVEL);
	u64 capabilities = PEEK(u64, own_cred, CRED_CAP_EFFECTIVE);
	s64 limit_value = PEEK(u64, signal, SIGNAL_RLIM + RLIMIT_NPROC * 16) & LONGEST;

	found->room = NO_ROOM_KNOWN;
	/* The kernel asks for both capabilities in the initial user namespace. */
	if (!uid || (!level && capabilities & (CAP_SYS_ADMIN_BIT | CAP_SYS_RESOURCE_BIT)))
		return;
#ifdef USER_PROCESSES
	/* Whatever the namespace (before 21d1c5e386bc): told as of the initial one. */
	nearer(found, uid | INITIAL_USER_NAMESPACE << 32,
	       PEEK(u32, PEEK(void *, cred, CRED_USER), USER_PROCESSES), limit_value);
#else
	void *counts = PEEK(void *, cred, CRED_UCOUNTS);

	for (int i = 0; i < MAX_NAMESPACE_DEPTH && counts; i++) {
		user_namespace = PEEK(void *, counts, UCOUNTS_NS);
		uid = PEEK(u32, counts, UCOUNTS_UID);
		nearer(found, user_of(uid, user_namespace), PEEK(u64, counts, UCOUNTS_PROCESSES),
		       limit_value);
		limit_value = PEEK(u64, user_namespace, USER_NAMESPACE_PROCESSES_MAX) & LONGEST;
		counts = PEEK(void *, user_namespace, USER_NAMESPACE_UCOUNTS);
	}
#endif
}

static __always_inline void consider_user(struct verdict *verdict, void *task)
{
	struct reading found = {};

	nearest_user_limit(&found, task);
	if (found.room == NO_ROOM_KNOWN)
		return;
	consider(verdict, LIMIT_RLIMIT_NPROC, &found);
}
#endif

#ifdef READS_PID_NAMESPACES
static __always_inline u64 inode_of_pid_namespace(void *namespace)
{
	return PEEK(u32, namespace, PID_NAMESPACE_INODE);
}

/* The kernel gives the inode number of a namespace that ended to the next one. */
static __always_inline u64 identity_of_pid_namespace(void *namespace)
{
	u64 init = PEEK(u32, PEEK(void *, namespace, PID_NAMESPACE_CHILD_REAPER), TASK_TGID);

	return inode_of_pid_namespace(namespace) | init << 32;
}

/* Of the namespaces in which a child would hold an id, the one with least room below pid_max less
 * what is reserved; found->owner is its address. How many ids the outermost has given out. */
static __always_inline s64 nearest_pid_namespace(struct reading *found, void *task)
{
	void *proxy = PEEK(void *, task, TASK_NSPROXY);
	void *namespace = PEEK(void *, proxy, NSPROXY_PID_NS_FOR_CHILDREN);
	s64 usage = 0, limit_value;
#ifndef PID_NAMESPACE_PID_MAX
	s64 pid_max = node_limit(NODE_PID_MAX);

	if (!pid_max)
		pid_max = NO_ROOM_KNOWN;
#endif

	found->room = NO_ROOM_KNOWN;
	for (int i = 0; i < MAX_NAMESPACE_DEPTH && namespace; i++) {
		usage = PEEK(u32, namespace, PID_NAMESPACE_ALLOCATED) & ~PIDNS_ADDING;
#ifdef PID_NAMESPACE_PID_MAX
		limit_value = PEEK(u32, namespace, PID_NAMESPACE_PID_MAX);
#else
		limit_value = pid_max;
#endif
		nearer(found, (u64) namespace, usage, limit_value - RESERVED_PIDS);
		namespace = PEEK(void *, namespace, PID_NAMESPACE_PARENT);
	}
	return usage;
}

/* Free ids are those of [300, pid_max) that nobody holds; how many below 300 are held is not
 * known here. So with more than pid_max - 300 ids held, this limit may be the one, unless another
 * surely is. */
static __always_inline void consider_pid_namespaces(struct verdict *verdict, void *task)
{
	struct reading found = {};
	struct reading outermost = {};
	void *namespace;

	outermost.usage = nearest_pid_namespace(&found, task);
	/* nr_threads has no address that a program could know. Every thread holds an id of the
	 * initial namespace, and little else does. */
	outermost.limit_value = node_limit(NODE_THREADS_MAX);
	outermost.room = room_of(outermost.usage, outermost.limit_value);
	if (outermost.limit_value)
		consider(verdict, LIMIT_THREADS_MAX, &outermost);
	namespace = (void *)found.owner;
	found.limit_value += RESERVED_PIDS;
	found.owner = identity_of_pid_namespace(namespace);
	found.level = PEEK(u32, namespace, PID_NAMESPACE_LEVEL);
	if (found.room) { /* a task may have left since */
		consider(verdict, LIMIT_PID_MAX, &found);
		return;
	}
	verdict->reached |= 1U << LIMIT_PID_MAX;
	if (verdict->is_certain ||
	    (verdict->possible && !(verdict->possible & 1U << LIMIT_PID_MAX)))
		return;
	found.room = 1; /* only what is surely reached takes its place */
	verdict->reading = found;
	verdict->limit = LIMIT_PID_MAX;
	verdict->is_certain = found.usage >= found.limit_value - 1;
}

static __always_inline u64 dying_pid_namespace(void *task)
{
	void *proxy = PEEK(void *, task, TASK_NSPROXY);
	void *namespace = PEEK(void *, proxy, NSPROXY_PID_NS_FOR_CHILDREN);

	if (PEEK(u32, namespace, PID_NAMESPACE_ALLOCATED) & PIDNS_ADDING)
		return 0;
	return inode_of_pid_namespace(namespace);
}
#endif

#ifdef READS_PIDS_CGROUPS
static __always_inline void consider_pids_cgroups(struct verdict *verdict, void *css)
{
	struct reading found = {.room = NO_ROOM_KNOWN};
	void *parent;

	/* The root charges nothing (pids_try_charge), and an unlimited one cannot be near. */
	for (int i = 0; i < MAX_CGROUP_DEPTH; i++) {
		parent = PEEK(void *, css, CSS_PARENT);
		if (!parent)
			break;
		nearer(&found, (u64)css, PEEK(u64, css, PIDS_CGROUP_COUNTER - PIDS_CGROUP_CSS),
		       PEEK(u64, css, PIDS_CGROUP_LIMIT - PIDS_CGROUP_CSS));
		css = parent;
	}
	css = (void *)found.owner;
	found.owner =
		PEEK(u64, PEEK(void *, PEEK(void *, css, CSS_CGROUP), CGROUP_KN), KERNFS_NODE_ID);
	consider(verdict, LIMIT_PIDS_MAX, &found);
}
#endif

static __always_inline void infer_again(struct verdict *verdict, void *task, void *pids_css)
{
	verdict->reading.room = NO_ROOM_KNOWN;
#ifdef READS_USER_COUNTS
	consider_user(verdict, task);
#endif
#ifdef READS_PID_NAMESPACES
	consider_pid_namespaces(verdict, task);
#endif
#ifdef READS_PIDS_CGROUPS
	consider_pids_cgroups(verdict, pids_css);
#endif
}

/* pids_css: of the cgroup that the child was to be born into. */
static __always_inline void infer(struct verdict *verdict, void *task, void *pids_css, u32 error)
{
	verdict->reading.usage = UNKNOWN_READING;
	verdict->reading.limit_value = UNKNOWN_READING;
	if (error == ERROR_AGAIN) {
		/* Seen, even where its reading is not known. */
		if (verdict->possible == 1U << LIMIT_PID_MAX)
			verdict->limit = LIMIT_PID_MAX;
		if (verdict->possible == 1U << LIMIT_PIDS_MAX)
			verdict->limit = LIMIT_PIDS_MAX;
		infer_again(verdict, task, pids_css);
	} else if (error == ERROR_NO_MEMORY) {
		verdict->limit = LIMIT_MEMORY;
#ifdef READS_PID_NAMESPACES
		verdict->reading.owner = dying_pid_namespace(task); /* alloc_pid */
		if (verdict->reading.owner)
			verdict->limit = LIMIT_NAMESPACE;
#endif
	} else if (error == ERROR_NO_SPACE || error == ERROR_USERS) {
		verdict->limit = LIMIT_NAMESPACE; /* user.max_*_namespaces, or nested too deep */
	}
}

#endif
