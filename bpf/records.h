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

/* Which limit refused a clone, in the order in which copy_process asks (kernel/fork.c). */
enum refusal_limit {
	LIMIT_OTHER, /* what is known is the errno */
	LIMIT_RLIMIT_NPROC,
	LIMIT_THREADS_MAX,
	LIMIT_NAMESPACE,
	LIMIT_PID_MAX,
	LIMIT_PIDS_MAX,
	LIMIT_MEMORY,
	REFUSAL_LIMITS,
};

/* How that is known. */
enum refusal_evidence {
	EVIDENCE_INFERRED,     /* from what the kernel compares, read in the same instant */
	EVIDENCE_KERNEL_STAGE, /* the function that refused was seen to return the error */
};

enum refused_kind {
	REFUSED_UNKNOWN,
	REFUSED_THREAD,
	REFUSED_PROCESS,
};

struct refusal_key {
	__u64 cgroup_id; /* of who asked */
	/* Of the limit: LIMIT_PIDS_MAX a cgroup's id, LIMIT_PID_MAX the inode number of a PID
	 * namespace and in the upper half the PID of its init, LIMIT_RLIMIT_NPROC a uid and in the
	 * upper half the inode number of its user namespace; otherwise 0. */
	__u64 owner;
	__u32 error; /* positive errno */
	__u16 limit; /* enum refusal_limit */
	__u16 evidence; /* enum refusal_evidence */
};

struct refusal_counts {
	__u64 refused;
	__u64 first_ns; /* monotonic, like the two below */
	__u64 last_ns;
	__u64 told_ns; /* when a refusal_record was sent */
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
	NODE_LOST_REFUSAL_RECORDS, /* the same of refusal_record */
	NODE_CLONES, /* that succeeded; counted like the next where both are needed */
	NODE_CLONES_RETURNED, /* those whose return was seen by a return probe */
	NODE_LOST_BURST_RECORDS, /* burst_record that found the ring full */
	NODE_CAUGHT, /* births and exits that the first program was skipped for, see recheck.h */
	NODE_COUNTERS,
};

/* Indices of the `node_limits` map, which the agent writes: kernels hide some from programs. */
enum node_limit {
	NODE_THREADS_MAX,
	NODE_PID_MAX,
	NODE_LIMITS,
};

/* What a record of the ring tells; each begins with its kind. */
enum record_kind {
	CGROUP_CREATED = 1,
	CGROUP_REMOVED = 2,
	CGROUP_RENAMED = 3,
	CLONE_REFUSED = 4,
	BIRTHS_CROSSED = 5,
};

#define CGROUP_PATH_SIZE 1024 /* TRACE_CGROUP_PATH_LEN of kernel/cgroup/cgroup-internal.h */

struct cgroup_record {
	__u32 kind;
	__u32 path_size; /* bytes of path, its terminating NUL included */
	__u64 timestamp_ns; /* monotonic */
	__u64 cgroup_id;
	char path[CGROUP_PATH_SIZE]; /* from the hierarchy's root, only path_size bytes are sent;
	                              * empty of a cgroup that was removed */
};

/* One refusal, told at once; those of the same key that follow within TELL_AGAIN_NS are only
 * counted. */
struct refusal_record {
	__u32 kind; /* CLONE_REFUSED */
	__u32 tgid; /* of who asked, in the initial PID namespace, like tid */
	__u64 timestamp_ns;
	struct refusal_key key;
	__u64 count; /* of the key so far, this one included */
	__s64 usage; /* of the limit, in that instant; -1 unknown, like the value */
	__s64 limit_value;
	__u32 tid;
	__u32 refused; /* enum refused_kind */
	__u32 reached; /* bit 1 << limit for each limit that was reached in that instant */
	__u32 pid_namespace_level; /* of the owner, 0 the node's */
	char thread_name[16];
};

/* A limit that no file shows, as a birth last found it; all 0 where there is none. */
struct hidden_limit {
	__u64 owner; /* as in refusal_key */
	__s64 usage;
	__s64 limit_value;
};

/* Births in one cgroup within one window of time, and what bounds those who create there. */
struct burst {
	__u64 window_ns; /* when it began, monotonic like told_ns */
	__u64 births;
	__u64 told_ns; /* when a burst_record was sent */
	struct hidden_limit user; /* RLIMIT_NPROC */
	struct hidden_limit pid_namespace; /* pid_max of the one with least room */
	__u32 pid_namespace_level;
	__u32 padding;
};

/* So many births in a cgroup within BURST_WINDOW_NS that the agent should look at once. */
struct burst_record {
	__u32 kind; /* BIRTHS_CROSSED */
	__u32 tgid; /* of who created the last one, in the initial PID namespace */
	__u64 timestamp_ns;
	__u64 cgroup_id;
	__u64 window_ns;
};

#endif
