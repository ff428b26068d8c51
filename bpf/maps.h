/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps: all preallocated (an allocation inside a tracing program can fail, and kernels before
 * 6.1 warn about it), so a map's size is its memory, and a full one is counted, never silent. */
#ifndef THREADTRACE_MAPS_H
#define THREADTRACE_MAPS_H

#include "records.h"

/* Counts per cgroup. 16,384 by default: a full Kubernetes node has some thousand cgroups, and the
 * agent removes the entry of a cgroup that is gone. Memory: entries x (32 B x CPUs + 64 B).
 * Full: the event goes to `unattributed` and is counted as NODE_LOST_CGROUP_COUNTS. */
BPF_TABLE("percpu_hash", u64, struct cgroup_counts, cgroups, MAX_CGROUPS);

/* What no longer found room in `cgroups`: the node's totals stay exact. */
BPF_TABLE("percpu_array", u32, struct cgroup_counts, unattributed, 1);

/* Refused clones per cgroup, errno and limit. As many as cgroups, since a cgroup is rarely refused
 * for more than one reason. Not per CPU: who is refused retries, on few CPUs at a time. Full:
 * counted as NODE_LOST_REFUSAL_COUNTS. */
BPF_TABLE("hash", struct refusal_key, struct refusal_counts, refusals, MAX_CGROUPS);

#ifdef THREADTRACE_SEES_STAGES
/* Which stage has just refused the clone that a thread is in, by its id, until copy_process
 * returns. Full: that clone counts as refused before these stages. */
struct refusing_stage {
	u64 at_ns;
	u32 limit; /* enum refusal_limit */
	u32 padding;
};
BPF_TABLE("hash", u64, struct refusing_stage, refusing_stages, 1024);
#endif

/* enum node_limit; 0 where the agent has not told yet. */
BPF_TABLE("array", u32, u64, node_limits, NODE_LIMITS);

/* Creations per process. Not per CPU: the threads of one process are the only writers of an entry,
 * so atomic additions rarely meet, and the map costs the same 2.3 MB on 2 CPUs and on 256. Only
 * processes that create are in it, and the dead leave (see forget_process). Full: the cgroup's
 * count is still exact, the process's is counted as NODE_LOST_PROCESS_COUNTS. */
BPF_TABLE("hash", struct process_key, struct process_counts, processes, MAX_PROCESSES);

/* Births of the last tenth of a second, by cgroup. 1,024 hold those that create fast; of the others
 * the one that was idle longest gives way, and what is forgotten is counted in `cgroups`. */
BPF_TABLE("lru_hash", u64, struct burst, bursts, 1024);

/* enum node_counter. */
BPF_TABLE("percpu_array", u32, u64, node, NODE_COUNTERS);

/* Scratch space: a cgroup_record is larger than a program's stack. */
BPF_TABLE("percpu_array", u32, struct cgroup_record, record_scratch, 1);

/* Cgroups that come and go, and refused clones. 512 KiB hold some 3,000 records of usual length,
 * or 13,000 of cgroups that go, and the agent is woken for each. Full: counted as
 * NODE_LOST_CGROUP_RECORDS, and the agent finds the path through the file system, as
 * NODE_LOST_REFUSAL_RECORDS, while the refusal is counted, or as NODE_LOST_BURST_RECORDS: the next
 * tick sees what grew. */
BPF_RINGBUF_OUTPUT(records, 128);

#ifdef THREADTRACE_PREEMPTIBLE_TRACEPOINTS
/* One bit for each PID, of which there are at most 4,194,304 (PID_MAX_LIMIT), so 512 KiB: see
 * recheck.h. PIDs that follow each other are in different words. */
#define COUNTED_WORDS 65536
BPF_TABLE("array", u32, u64, counted, COUNTED_WORDS);

/* Two programs may be at work in a CPU's own counts, one of them preempted. */
#define ADD_ONE(counter) lock_xadd(&(counter), 1)
#else
#define ADD_ONE(counter) ((counter)++)
#endif

#if defined(THREADTRACE_RETURN_PROBES) || defined(THREADTRACE_PREEMPTIBLE_TRACEPOINTS)
#define COUNTS_CLONES /* whose return may be missed: NODE_CLONES and NODE_CLONES_RETURNED */
#endif

static __always_inline void count_on_node(u32 counter)
{
	u64 *value = node.lookup(&counter);

	if (value)
		ADD_ONE(*value);
}

#endif
