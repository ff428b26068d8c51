/* SPDX-License-Identifier: GPL-2.0-only */
/* Clones that the kernel refused. One handler; each hook that reaches it is a thin wrapper. */
#include "layout.h"
#include "maps.h"
#include "processes.h"

/* A signal that is already pending makes the kernel give up a clone and have it repeated
 * (ERESTARTSYS 512 to ERESTART_RESTARTBLOCK 516, include/linux/errno.h): not a refusal. */
#define FIRST_RESTART 512
#define LAST_RESTART 516

/* What a seccomp profile answers for clone3, so that the C library falls back to clone: nothing
 * was asked of the kernel yet. copy_process never returns it. */
#define NOT_IMPLEMENTED 38

static __always_inline int refused(long result)
{
	struct refusal_key key = {};
	struct process_counts *process;
	u64 *count, zero = 0;

	/* 0 is the child's own return, a positive value the parent's. */
	if (result >= 0 || result == -NOT_IMPLEMENTED)
		return 0;
	if (result <= -FIRST_RESTART && result >= -LAST_RESTART)
		return 0;
	key.cgroup_id = cgroup_id_of((void *)bpf_get_current_task());
	key.error = -result;
	count = refusals.lookup(&key);
	if (!count) {
		refusals.insert(&key, &zero);
		count = refusals.lookup(&key);
	}
	if (count)
		*count += 1;
	else
		count_on_node(NODE_LOST_REFUSAL_COUNTS);
	process = current_process(key.cgroup_id);
	if (process)
		lock_xadd(&process->refused, 1);
	return 0;
}

/* The fields of every syscalls:sys_exit_* tracepoint (struct syscall_trace_exit). */
struct system_call_exit {
	u64 common;
	u64 number;
	long result;
};

int on_clone_exit(struct system_call_exit *ctx)
{
	return refused(ctx->result);
}
