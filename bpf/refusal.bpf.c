/* SPDX-License-Identifier: GPL-2.0-only */
/* Clones that the kernel refused. One handler; each hook that reaches it is a thin wrapper. */
#include "layout.h"
#include "maps.h"
#include "processes.h"
#include "unpreempted.h"
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

/* A clone that failed. */
struct attempt {
	long result;
	u32 kind; /* enum refused_kind */
	u32 possible; /* bit 1 << limit for each limit that may have refused; 0: stage not seen */
	bool into_cgroup; /* the child was to be born into another cgroup than the caller's: */
	u32 cgroup_fd;
};

static __always_inline int refused(struct attempt *attempt)
{
	void *task = (void *)bpf_get_current_task();
	u64 now = bpf_ktime_get_ns();
	u32 possible = attempt->possible;
	struct verdict verdict = {.possible = possible};
	struct refusal_key key = {};
	struct refusal_counts *counts;
	struct process_counts *process;
	void *css;

	css = attempt->into_cgroup ? pids_css_of_fd(task, attempt->cgroup_fd) : pids_css_of(task);
	infer(&verdict, task, css, -attempt->result);
	key.cgroup_id = cgroup_id_of(task);
	key.owner = verdict.reading.owner;
	key.error = -attempt->result;
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
			tell(&key, &verdict, counts, attempt->kind, now);
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
/* The registers with which the current task entered the system call that it is in. The helpers came
 * with 5.15. */
static __always_inline void *entry_registers(void)
{
	static void *(*get_current_task_btf)(void) = (void *)HELPER_GET_CURRENT_TASK_BTF;
	static void *(*get_task_pt_regs)(void *) = (void *)HELPER_TASK_PT_REGS;

	return get_task_pt_regs(get_current_task_btf());
}
#define ENTRY_REGISTER(type, offset) PEEK(type, entry_registers(), offset)
#else
#define ENTRY_REGISTER(type, offset) 0
#endif

/* The numbers of the system calls: arch/x86/entry/syscalls/syscall_64.tbl, and
 * include/uapi/asm-generic/unistd.h for everybody else, where x86's numbers are those of openat,
 * close and vhangup, on whose way back a worker of io_uring may be made. */
#ifdef __x86_64__
#define NUMBER_CLONE 56
#define IS_FORK(number) ((number) == 57 || (number) == 58) /* fork, vfork */
#else
#define NUMBER_CLONE 220
#define IS_FORK(number) false
#endif
#define NUMBER_IO_URING_ENTER 426
#define NUMBER_CLONE3 435

/* What would have been created, and where, as the caller asked for it. */
static __always_inline void describe(struct attempt *attempt, u32 number)
{
	if (IS_FORK(number)) {
		attempt->kind = REFUSED_PROCESS;
		return;
	}
	if (number == NUMBER_IO_URING_ENTER) { /* a worker (create_io_thread) */
		attempt->kind = REFUSED_THREAD;
		return;
	}
#ifdef PT_REGS_FIRST_ARGUMENT
	u64 first = ENTRY_REGISTER(u64, PT_REGS_FIRST_ARGUMENT), flags = first;

	if (number == NUMBER_CLONE3) { /* struct clone_args, which may have been unmapped since */
		if (bpf_probe_read_user(&flags, sizeof(flags), (void *)first))
			return;
		attempt->into_cgroup = flags & CLONE_INTO_CGROUP;
		bpf_probe_read_user(&attempt->cgroup_fd, sizeof(attempt->cgroup_fd),
		                    (void *)first + CLONE_ARGS_CGROUP);
	} else if (number != NUMBER_CLONE) {
		return;
	}
	attempt->kind = flags & CLONE_THREAD ? REFUSED_THREAD : REFUSED_PROCESS;
#endif
}

/* The fields of every syscalls:sys_exit_* tracepoint (struct syscall_trace_exit). */
struct system_call_exit {
	u64 common;
	u32 number;
	u32 padding; /* of any content */
	long result;
};

int on_clone_exit(struct system_call_exit *ctx)
{
	struct attempt attempt = {.result = ctx->result};

	if (!is_refusal(ctx->result))
		return 0;
	describe(&attempt, ctx->number);
	return refused(&attempt);
}

#ifdef THREADTRACE_SEES_STAGES
#define FIRST_ERROR_POINTER ((u64) - 4095) /* include/linux/err.h */

static __always_inline int stage_refused(u32 limit)
{
	struct refusing_stage stage = {.limit = limit};
	u64 id;

	keep_cpu();
	stage.at_ns = bpf_ktime_get_ns();
	id = bpf_get_current_pid_tgid();
	refusing_stages.update(&id, &stage);
	yield_cpu_later();
	return 0;
}

/* struct pid *alloc_pid(...) */
static __always_inline int alloc_pid_returned(u64 pid)
{
	return pid < FIRST_ERROR_POINTER ? 0 : stage_refused(LIMIT_PID_MAX);
}

/* int cgroup_can_fork(...) */
static __always_inline int cgroup_can_fork_returned(u64 result)
{
	return (int)result ? stage_refused(LIMIT_PIDS_MAX) : 0;
}

/* What is left of the kernel's way from the refusal to here is to give back what it had taken,
 * while others may have the CPU. An older entry is of another clone, whose return was lost. */
#define CLEANUP_NS 1000000000ULL

/* The limit by whose stage the clone that copy_process now gives up was seen to be refused;
 * otherwise those that are checked where nobody looks. */
static __always_inline u32 refusing_limits(u32 unseen)
{
	u64 id = bpf_get_current_pid_tgid();
	struct refusing_stage *stage = refusing_stages.lookup(&id);
	u32 possible = 0; /* anything */

	if (!stage)
		return unseen;
	if (bpf_ktime_get_ns() - stage->at_ns < CLEANUP_NS)
		possible = 1U << (stage->limit & 7);
	refusing_stages.delete(&id);
	return possible;
}

#ifdef THREADTRACE_RETURN_PROBES
/* kretprobes: no arguments, only what the function returns. */
int on_alloc_pid_return(void *ctx)
{
	return alloc_pid_returned(RETURN_VALUE(ctx));
}

int on_cgroup_can_fork_return(void *ctx)
{
	return cgroup_can_fork_returned(RETURN_VALUE(ctx));
}

int on_copy_process_return(void *ctx)
{
	struct attempt attempt = {.result = RETURN_VALUE(ctx)};

	if ((u64)attempt.result < FIRST_ERROR_POINTER) {
		count_on_node(NODE_CLONES_RETURNED);
		return 0;
	}
	attempt.possible = refusing_limits(0); /* a stage's return may be lost */
	if (!is_refusal(attempt.result))
		return 0;
	if (PEEK(u32, bpf_get_current_task(), TASK_FLAGS) & PF_KTHREAD)
		attempt.kind = REFUSED_PROCESS;
	else
		describe(&attempt, ENTRY_REGISTER(u32, PT_REGS_CALL_NUMBER));
	return refused(&attempt);
}
#else
/* What an fexit program gets: the function's arguments, and then what it returns. */
struct function_exit {
	u64 argument[6];
};

int on_alloc_pid_exit(struct function_exit *ctx)
{
	return alloc_pid_returned(ctx->argument[ALLOC_PID_PARAMETERS]);
}

/* (struct task_struct *child, struct kernel_clone_args *arguments) */
int on_cgroup_can_fork_exit(struct function_exit *ctx)
{
	return cgroup_can_fork_returned(ctx->argument[2]);
}

static __always_inline void clone_failed(struct function_exit *ctx)
{
	void *arguments = (void *)ctx->argument[3];
	struct attempt attempt = {};
	u64 flags;

	/* To the verifier what the function returns is a pointer, of which no errno may be
	 * computed: clang from 19 on shifts it. Read by a helper it is a number. */
	attempt.result = PEEK(long, ctx, offsetof(struct function_exit, argument[4]));
	attempt.possible = refusing_limits(1U << LIMIT_RLIMIT_NPROC | 1U << LIMIT_THREADS_MAX);
	if (!is_refusal(attempt.result))
		return;
	flags = PEEK(u64, arguments, CLONE_ARGUMENTS_FLAGS);
	attempt.kind = flags & CLONE_THREAD ? REFUSED_THREAD : REFUSED_PROCESS;
	attempt.into_cgroup = flags & CLONE_INTO_CGROUP;
	attempt.cgroup_fd = PEEK(u32, arguments, CLONE_ARGUMENTS_CGROUP);
	refused(&attempt);
}

/* struct task_struct *copy_process(struct pid *pid, int trace, int node,
 *                                  struct kernel_clone_args *arguments)
 * Every clone passes through it: system calls, workers of io_uring and vhost, kernel threads. */
int on_copy_process_exit(struct function_exit *ctx)
{
	if (ctx->argument[4] < FIRST_ERROR_POINTER) {
#ifdef COUNTS_CLONES
		count_on_node(NODE_CLONES_RETURNED);
#endif
		return 0;
	}
	keep_cpu();
	clone_failed(ctx);
	yield_cpu_later();
	return 0;
}
#endif
#endif
