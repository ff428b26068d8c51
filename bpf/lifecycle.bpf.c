/* SPDX-License-Identifier: GPL-2.0-only */
/* Tasks born and gone, cgroups that come and go. */
#include "bursts.h"
#include "layout.h"
#include "maps.h"
#include "processes.h"
#include "recheck.h"

static __always_inline struct cgroup_counts *counts_of(u64 cgroup_id)
{
	struct cgroup_counts *counts = cgroups.lookup(&cgroup_id);
	struct cgroup_counts zero = {};
	u32 first = 0;

	if (counts)
		return counts;
	cgroups.insert(&cgroup_id, &zero); /* fails where another CPU was first: the same entry */
	counts = cgroups.lookup(&cgroup_id);
	if (counts)
		return counts;
	count_on_node(NODE_LOST_CGROUP_COUNTS);
	return unattributed.lookup(&first);
}

static __always_inline void count_birth(struct tracepoint_arguments *ctx)
{
	void *child = (void *)ctx->argument[0];
	u64 clone_flags = ctx->argument[1];
	u32 task_flags = MEMBER(u32, child, TASK_FLAGS);
	u64 cgroup_id = task_flags & PF_KTHREAD ? KERNEL_CGROUP_ID : cgroup_id_of_argument(child);
	struct cgroup_counts *counts = counts_of(cgroup_id);
	struct process_counts *process;

#ifdef COUNTS_CLONES
	count_on_node(NODE_CLONES);
#endif
	if (counts) {
		if (clone_flags & CLONE_THREAD)
			ADD_ONE(counts->threads_created);
		else
			ADD_ONE(counts->processes_created);
		if (cgroup_id != KERNEL_CGROUP_ID)
			watch_births(cgroup_id, counts);
	}
	process = current_process(cgroup_id);
	if (!process)
		return;
	if (clone_flags & CLONE_THREAD)
		lock_xadd(&process->threads_created, 1);
	else
		lock_xadd(&process->processes_created, 1);
}

/* task_newtask fires in the parent, after the child joined its cgroup, and only for a clone that
 * succeeded (kernel/fork.c, copy_process). */
int on_task_newtask(struct tracepoint_arguments *ctx)
{
	mark_counted((void *)ctx->argument[0]);
	count_birth(ctx);
	return 0;
}

/* sched_process_exit fires in the task that goes, before it leaves its cgroup (kernel/exit.c,
 * do_exit). Newer kernels tell with a second argument, group_dead, whether the process goes with
 * it. On the others the leader stands for its process: signal->live, read here, would count a
 * process twice when its last two threads leave at the same time. */
static __always_inline void count_exit(struct tracepoint_arguments *ctx)
{
	void *task = (void *)ctx->argument[0];
	u32 task_flags = MEMBER(u32, task, TASK_FLAGS);
	u32 tgid = MEMBER(u32, task, TASK_TGID);
	u64 cgroup_id = task_flags & PF_KTHREAD ? KERNEL_CGROUP_ID : cgroup_id_of_argument(task);
	struct cgroup_counts *counts = counts_of(cgroup_id);
#ifdef THREADTRACE_EXIT_TELLS_GROUP_DEAD
	bool process_gone = ctx->argument[1] & 1;
#else
	bool process_gone = MEMBER(u32, task, TASK_PID) == tgid;
#endif

	if (counts) {
		if (process_gone)
			ADD_ONE(counts->processes_exited);
		else
			ADD_ONE(counts->threads_exited);
	}
	if (process_gone)
		forget_process(cgroup_id, tgid);
}

int on_sched_process_exit(struct tracepoint_arguments *ctx)
{
	mark_counted((void *)ctx->argument[0]);
	count_exit(ctx);
	return 0;
}

#ifdef THREADTRACE_PREEMPTIBLE_TRACEPOINTS
int recheck_newtask(struct tracepoint_arguments *ctx)
{
	if (is_to_catch((void *)ctx->argument[0], false))
		count_birth(ctx);
	return 0;
}

int settle_newtask(struct tracepoint_arguments *ctx)
{
	if (is_to_catch((void *)ctx->argument[0], true))
		count_birth(ctx);
	return 0;
}

int recheck_exit(struct tracepoint_arguments *ctx)
{
	if (is_to_catch((void *)ctx->argument[0], false))
		count_exit(ctx);
	return 0;
}

int settle_exit(struct tracepoint_arguments *ctx)
{
	if (is_to_catch((void *)ctx->argument[0], true))
		count_exit(ctx);
	return 0;
}
#endif

static __always_inline int cgroup_changed(struct tracepoint_arguments *ctx, u32 kind)
{
	void *cgroup = (void *)ctx->argument[0];
	void *root = MEMBER(void *, cgroup, CGROUP_ROOT);
	void *kernfs_node = MEMBER(void *, cgroup, CGROUP_KN);
	u32 first = 0;
	struct cgroup_record *record;
	u64 size;

	if (MEMBER(u32, root, CGROUP_ROOT_HIERARCHY_ID) != PIDS_HIERARCHY_ID)
		return 0;
	record = record_scratch.lookup(&first);
	if (!record)
		return 0;
	record->kind = kind;
	record->timestamp_ns = bpf_ktime_get_ns();
	record->cgroup_id = MEMBER(u64, kernfs_node, KERNFS_NODE_ID);
	size = 0;
	/* Whoever knows a cgroup that goes knows its path by the id: room for four times as many.
	 */
	if (kind != CGROUP_REMOVED)
		size = bpf_probe_read_kernel_str(record->path, CGROUP_PATH_SIZE,
		                                 (void *)ctx->argument[1]);
	if (size - 1 >= CGROUP_PATH_SIZE) { /* none, or unreadable, a negative errno */
		record->path[0] = 0;
		size = 1;
	}
	record->path_size = size;
	size += offsetof(struct cgroup_record, path);
	/* Keeps the compiler from folding both checks into one that the verifier cannot follow. */
	asm volatile("" : "+r"(size));
	if (size > sizeof(*record))
		return 0;
	if (records.ringbuf_output(record, size, 0))
		count_on_node(NODE_LOST_CGROUP_RECORDS);
	return 0;
}

/* The tracepoints of cgroups fire with a spin lock held (kernel/cgroup/cgroup-internal.h,
 * TRACE_CGROUP_PATH), so none of their programs is ever skipped. */
int on_cgroup_mkdir(struct tracepoint_arguments *ctx)
{
	return cgroup_changed(ctx, CGROUP_CREATED);
}

int on_cgroup_rmdir(struct tracepoint_arguments *ctx)
{
	return cgroup_changed(ctx, CGROUP_REMOVED);
}

int on_cgroup_rename(struct tracepoint_arguments *ctx)
{
	return cgroup_changed(ctx, CGROUP_RENAMED);
}

/* A move changes how many tasks two cgroups hold, without a birth or a death. Which two matters
 * little: that anything moved tells the agent to read every counter again. */
int on_cgroup_attach_task(struct tracepoint_arguments *ctx)
{
	count_on_node(NODE_MOVES);
	return 0;
}
