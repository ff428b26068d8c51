/* SPDX-License-Identifier: GPL-2.0-only */
/* Many births at once: told at once, since an explosion does not wait for the agent's tick. */
#ifndef THREADTRACE_BURSTS_H
#define THREADTRACE_BURSTS_H

#include "maps.h"
#include "verdict.h"

/* One record when a cgroup has 32 births within a tenth of a second, and at most one a second: a
 * hint to look, not a judgement. */
#define BURST_BIRTHS 32
#define BURST_WINDOW_NS 100000000ULL
#define BURST_TELL_AGAIN_NS 1000000000ULL

/* Only each eighth birth that a CPU counts in a cgroup looks at the clock and the shared count, and
 * at the limits, which costs some hundred nanoseconds, only where it begins a window. */
#define BURST_STEP 8

static __always_inline struct burst *burst_of(u64 cgroup_id)
{
	struct burst *burst = bursts.lookup(&cgroup_id);
	struct burst first = {};

	if (burst)
		return burst;
	bursts.insert(&cgroup_id, &first); /* fails where another CPU was first: the same entry */
	return bursts.lookup(&cgroup_id);
}

/* The limits that only the kernel knows, where the child of the running task counts too. */
static __always_inline void note_limits(struct burst *burst)
{
	void *task = (void *)bpf_get_current_task();
	struct reading found = {};

#ifdef READS_USER_COUNTS
	nearest_user_limit(&found, task);
	burst->user.owner = found.owner;
	burst->user.usage = found.usage;
	burst->user.limit_value = found.room == NO_ROOM_KNOWN ? 0 : found.limit_value;
#endif
#ifdef PID_NAMESPACE_PID_MAX /* else the node's own counts in all of them */
	nearest_pid_namespace(&found, task);
	burst->pid_namespace.owner = identity_of_pid_namespace((void *)found.owner);
	burst->pid_namespace.usage = found.usage;
	burst->pid_namespace.limit_value = found.limit_value + RESERVED_PIDS;
	burst->pid_namespace_level = PEEK(u32, (void *)found.owner, PID_NAMESPACE_LEVEL);
#endif
}

/* Two CPUs that start a window, or tell, at the same time do it twice: a hint more. */
static __always_inline void watch_births(u64 cgroup_id, struct cgroup_counts *counts)
{
	struct burst_record record = {.kind = BIRTHS_CROSSED, .cgroup_id = cgroup_id};
	u64 now;
	struct burst *burst;

	if ((counts->threads_created + counts->processes_created) % BURST_STEP)
		return;
	now = bpf_ktime_get_ns();
	burst = burst_of(cgroup_id);
	if (!burst)
		return;
	if (now - burst->window_ns > BURST_WINDOW_NS) {
		burst->window_ns = now;
		burst->births = 0;
		note_limits(burst);
	}
	lock_xadd(&burst->births, BURST_STEP);
	if (burst->births < BURST_BIRTHS || now - burst->told_ns < BURST_TELL_AGAIN_NS)
		return;
	burst->told_ns = now;
	record.tgid = bpf_get_current_pid_tgid() >> 32;
	record.timestamp_ns = now;
	record.window_ns = burst->window_ns;
	if (records.ringbuf_output(&record, sizeof(record), 0))
		count_on_node(NODE_LOST_BURST_RECORDS);
}

#endif
