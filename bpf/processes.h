/* SPDX-License-Identifier: GPL-2.0-only */
/* Which process asks for how much. */
#ifndef THREADTRACE_PROCESSES_H
#define THREADTRACE_PROCESSES_H

#include "layout.h"
#include "maps.h"

/* A dead process that had created fewer tasks than this is forgotten at once: in a storm of
 * processes that each fork once and exit, nobody asks for any single one, and their entries would
 * fill the map. Those above stay until the agent has read them. */
#define WORTH_REMEMBERING 8

static __always_inline void begin_process(struct process_counts *counts)
{
	void *task = (void *)bpf_get_current_task();
	void *leader = PEEK(void *, task, TASK_GROUP_LEADER);

	counts->start_boottime_ns = PEEK(u64, leader, TASK_START_BOOTTIME);
	bpf_probe_read_kernel(&counts->name, sizeof(counts->name), leader + TASK_COMM);
}

/* The counts of the process that runs now, within the given cgroup. NULL when the map is full. */
static __always_inline struct process_counts *current_process(u64 cgroup_id)
{
	struct process_key key = {
		.cgroup_id = cgroup_id,
		.tgid = bpf_get_current_pid_tgid() >> 32,
	};
	struct process_counts *counts = processes.lookup(&key);
	struct process_counts fresh = {};

	if (counts && !counts->exited_ns)
		return counts;
	if (counts) /* the id was given to a new process before the agent saw the old one go */
		processes.delete(&key);
	begin_process(&fresh);
	processes.insert(&key, &fresh); /* fails where another thread was first: the same entry */
	counts = processes.lookup(&key);
	if (!counts)
		count_on_node(NODE_LOST_PROCESS_COUNTS);
	return counts;
}

static __always_inline void forget_process(u64 cgroup_id, u32 tgid)
{
	struct process_key key = {.cgroup_id = cgroup_id, .tgid = tgid};
	struct process_counts *counts = processes.lookup(&key);

	if (!counts)
		return;
	if (counts->threads_created + counts->processes_created + counts->refused <
	    WORTH_REMEMBERING)
		processes.delete(&key);
	else
		counts->exited_ns = bpf_ktime_get_ns();
}

#endif
