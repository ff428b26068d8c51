/* SPDX-License-Identifier: GPL-2.0-only */
/* Clones that the kernel refused. One handler; each hook that reaches it is a thin wrapper. */
#include "layout.h"
#include "maps.h"
#include "processes.h"
#include "verdict.h"

/* A signal that is already pending makes the kernel give up a clone and have it repeated
 * (ERESTARTSYS 512 to ERESTART_RESTARTBLOCK 516, include/linux/errno.h): not a refusal. */
#define FIRST_RESTART 512
#define LAST_RESTART 516

/* What a seccomp profile answers for clone3, so that the C library falls back to clone: nothing
 * was asked of the kernel yet. copy_process never returns it. */
#define NOT_IMPLEMENTED 38

/* Refusals of one key that follow a record within this time are counted, and told by the next. */
#define TELL_AGAIN_NS 1000000000ULL

static __always_inline void tell(struct refusal_key *key, struct verdict *verdict,
                                 struct refusal_counts *counts, u32 kind, u64 now)
{
	u64 id = bpf_get_current_pid_tgid();
	struct refusal_record record = {
		.kind = CLONE_REFUSED,
		.tgid = id >> 32,
		.timestamp_ns = now,
		.key = *key,
		.count = counts->refused,
		.usage = verdict->reading.usage,
		.limit_value = verdict->reading.limit_value,
		.tid = id,
		.refused = kind,
		.reached = verdict->reached,
		.pid_namespace_level = verdict->reading.level,
	};

	bpf_get_current_comm(&record.thread_name, sizeof(record.thread_name));
	if (records.ringbuf_output(&record, sizeof(record), 0))
		count_on_node(NODE_LOST_REFUSAL_RECORDS);
}

static __always_inline struct refusal_counts *refusal_counts_of(struct refusal_key *key, u64 now)
{
	struct refusal_counts *counts = refusals.lookup(key);
	struct refusal_counts first = {.first_ns = now};

	if (counts)
		return counts;
	refusals.insert(key, &first); /* fails where another CPU was first: the same entry */
	counts = refusals.lookup(key);
	if (!counts)
		count_on_node(NODE_LOST_REFUSAL_COUNTS);
	return counts;
}

/* kind: enum refused_kind. possible: bit 1 << limit for each limit that may have refused, 0 where
 * the stage was not seen. */
static __always_inline int refused(long result, u32 kind, u32 possible)
{
	void *task = (void *)bpf_get_current_task();
	u64 now = bpf_ktime_get_ns();
	struct verdict verdict = {.possible = possible};
	struct refusal_key key = {};
	struct refusal_counts *counts;
	struct process_counts *process;

	infer(&verdict, task, -result);
	key.cgroup_id = cgroup_id_of(task);
	key.owner = verdict.reading.owner;
	key.error = -result;
	key.limit = verdict.limit;
	/* With several possible, which of them it was is told from readings. */
	if (possible && !(possible & (possible - 1)))
		key.evidence = EVIDENCE_KERNEL_STAGE;
	counts = refusal_counts_of(&key, now);
	if (counts) {
		lock_xadd(&counts->refused, 1);
		counts->last_ns = now;
		if (!counts->told_ns || now - counts->told_ns >= TELL_AGAIN_NS) {
			counts->told_ns = now;
			tell(&key, &verdict, counts, kind, now);
		}
	}
	process = current_process(key.cgroup_id);
	if (process)
		lock_xadd(&process->refused, 1);
	return 0;
}

/* 0 is the child's own return, a positive value the parent's. */
static __always_inline bool is_refusal(long result)
{
	if (result >= 0 || result == -NOT_IMPLEMENTED)
		return false;
	return result > -FIRST_RESTART || result < -LAST_RESTART;
}

#ifdef PT_REGS_FIRST_ARGUMENT
/* The first argument of the system call that the current task is in. The helpers came with 5.15. */
static __always_inline u64 first_argument(void)
{
	static void *(*get_current_task_btf)(void) = (void *)HELPER_GET_CURRENT_TASK_BTF;
	static void *(*get_task_pt_regs)(void *) = (void *)HELPER_TASK_PT_REGS;

	return PEEK(u64, get_task_pt_regs(get_current_task_btf()), PT_REGS_FIRST_ARGUMENT);
}
#endif

/* The fields of every syscalls:sys_exit_* tracepoint (struct syscall_trace_exit). */
struct system_call_exit {
	u64 common;
	u32 number;
	u32 padding; /* of any content */
	long result;
};

/* What would have been created. The numbers of the system calls are the same on every architecture
 * that has them (include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl). */
#define NUMBER_FORK 57
#define NUMBER_VFORK 58
#define NUMBER_CLONE3 435

static __always_inline u32 kind_of_call(u32 number)
{
	u64 clone_flags;

	if (number == NUMBER_FORK || number == NUMBER_VFORK)
		return REFUSED_PROCESS;
#ifdef PT_REGS_FIRST_ARGUMENT
	clone_flags = first_argument();
	/* struct clone_args begins with the flags; it may have been unmapped since. */
	if (number == NUMBER_CLONE3 &&
	    bpf_probe_read_user(&clone_flags, sizeof(clone_flags), (void *)clone_flags))
		return REFUSED_UNKNOWN;
	return clone_flags & CLONE_THREAD ? REFUSED_THREAD : REFUSED_PROCESS;
#else
	return REFUSED_UNKNOWN;
#endif
}

int on_clone_exit(struct system_call_exit *ctx)
{
	if (!is_refusal(ctx->result))
		return 0;
	return refused(ctx->result, kind_of_call(ctx->number), 0);
}

#ifdef THREADTRACE_SEES_STAGES
/* What an fexit program gets: the function's arguments, and then what it returns. */
struct function_exit {
	u64 argument[6];
};

#define FIRST_ERROR_POINTER ((u64) - 4095) /* include/linux/err.h */

static __always_inline int stage_refused(u32 limit)
{
	u64 id = bpf_get_current_pid_tgid();

	refusing_stages.update(&id, &limit);
	return 0;
}

/* struct pid *alloc_pid(...) */
int on_alloc_pid_exit(struct function_exit *ctx)
{
	if (ctx->argument[ALLOC_PID_PARAMETERS] < FIRST_ERROR_POINTER)
		return 0;
	return stage_refused(LIMIT_PID_MAX);
}

/* int cgroup_can_fork(struct task_struct *child, struct kernel_clone_args *arguments) */
int on_cgroup_can_fork_exit(struct function_exit *ctx)
{
	if (!(int)ctx->argument[2])
		return 0;
	return stage_refused(LIMIT_PIDS_MAX);
}

/* struct task_struct *copy_process(struct pid *pid, int trace, int node,
 *                                  struct kernel_clone_args *arguments)
 * Every clone passes through it: system calls, workers of io_uring and vhost, kernel threads. */
int on_copy_process_exit(struct function_exit *ctx)
{
	u64 id = bpf_get_current_pid_tgid(), clone_flags;
	u32 possible = 1U << LIMIT_RLIMIT_NPROC | 1U << LIMIT_THREADS_MAX;
	u32 *stage;

	if (ctx->argument[4] < FIRST_ERROR_POINTER)
		return 0;
	stage = refusing_stages.lookup(&id);
	if (stage) {
		possible = 1U << (*stage & 7);
		refusing_stages.delete(&id);
	}
	if (!is_refusal(ctx->argument[4]))
		return 0;
	clone_flags = PEEK(u64, ctx->argument[3], CLONE_ARGUMENTS_FLAGS);
	return refused(ctx->argument[4],
	               clone_flags & CLONE_THREAD ? REFUSED_THREAD : REFUSED_PROCESS, possible);
}
#endif
