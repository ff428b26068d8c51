/* SPDX-License-Identifier: GPL-2.0-only */
/* What crosses from the kernel to the agent: the one definition of every shape.
 * probe/records.py decodes exactly this; tests/unit/test_records.py compiles this file for the
 * host and compares every size and offset. */
#ifndef THREADTRACE_RECORDS_H
#define THREADTRACE_RECORDS_H

/* A cgroup is named by the id of its kernfs node in the hierarchy that carries the pids
 * controller. Ids start at 1 (a hierarchy's root), so 0 is free to stand for the kernel's own
 * threads: they live in the root cgroup beside user processes, but nobody's container made them. */
#define KERNEL_CGROUP_ID 0

/* Everything that happened in one cgroup since the programs were attached. */
struct cgroup_counts {
	__u64 threads_created;
	__u64 processes_created;
	__u64 threads_exited;
	__u64 processes_exited;
};

struct refusal_key {
	__u64 cgroup_id;
	__u32 error; /* positive errno */
	__u32 padding;
};

/* Who asked: a thread group, within the cgroup that its children are born into. */
struct process_key {
	__u64 cgroup_id;
	__u32 tgid; /* in the initial PID namespace */
	__u32 padding;
};

struct process_counts {
	__u64 start_boottime_ns; /* of the group leader: with tgid, the process's identity */
	__u64 threads_created;
	__u64 processes_created;
	__u64 refused;
	__u64 exited_ns; /* monotonic; 0 while the process lives */
	char name[16]; /* the group leader's, as it was at the first creation */
};

/* Indices of the `node` map. */
enum node_counter {
	NODE_MOVES,               /* tasks moved between cgroups: present counts are stale */
	NODE_LOST_CGROUP_COUNTS,  /* births and deaths that found the `cgroups` map full */
	NODE_LOST_REFUSAL_COUNTS, /* refusals that found the `refusals` map full */
	NODE_LOST_PROCESS_COUNTS, /* creations that found the `processes` map full */
	NODE_LOST_CGROUP_RECORDS, /* cgroup_record that found the ring full */
	NODE_COUNTERS,
};

enum cgroup_record_kind {
	CGROUP_CREATED = 1,
	CGROUP_REMOVED = 2,
	CGROUP_RENAMED = 3,
};

#define CGROUP_PATH_SIZE 1024 /* TRACE_CGROUP_PATH_LEN of kernel/cgroup/cgroup-internal.h */

struct cgroup_record {
	__u32 kind;
	__u32 path_size; /* bytes of path, its terminating NUL included */
	__u64 timestamp_ns; /* monotonic */
	__u64 cgroup_id;
	char path[CGROUP_PATH_SIZE]; /* from the hierarchy's root, only path_size bytes are sent */
};

#endif
