/* SPDX-License-Identifier: GPL-2.0-only */
/* Each birth and exit counts once, where the kernel skips programs.
 *
 * From 7.0 on a program at a tracepoint may be preempted (a46023d5616e), and the kernel skips it
 * for every task that comes there on the same CPU meanwhile. So each of them has two more behind
 * it, which see the same event right afterwards and count it if those before were skipped. An event
 * is missed only where all three are, each preempted on the same CPU at the same time.
 *
 * A bit for the PID that the event is about, which no other task has meanwhile, tells them: set by
 * who counts, cleared by the last. Where the last is skipped the bit stays, and the next event of
 * that PID puts it right. */
#ifndef THREADTRACE_RECHECK_H
#define THREADTRACE_RECHECK_H

#include "layout.h"
#include "maps.h"

#ifdef THREADTRACE_PREEMPTIBLE_TRACEPOINTS
static __always_inline u64 *counted_word(u32 pid)
{
	u32 word = pid % COUNTED_WORDS;

	return counted.lookup(&word);
}

static __always_inline u64 counted_bit(u32 pid)
{
	return 1ULL << (pid / COUNTED_WORDS & 63);
}

/* Whether nobody has counted it so far. */
static __always_inline bool is_uncounted(void *task, bool is_last)
{
	u32 pid = MEMBER(u32, task, TASK_PID);
	u64 *word = counted_word(pid);
	bool is_counted;

	if (!word)
		return false;
	is_counted = *(u64 volatile *)word & counted_bit(pid);
	if (is_counted == is_last)
		lock_xadd(word, is_last ? -counted_bit(pid) : counted_bit(pid));
	return !is_counted;
}

static __always_inline void mark_counted(void *task)
{
	is_uncounted(task, false);
}

static __always_inline bool is_to_catch(void *task, bool is_last)
{
	if (!is_uncounted(task, is_last))
		return false;
	count_on_node(NODE_CAUGHT);
	return true;
}
#else
static __always_inline void mark_counted(void *task)
{
}
#endif

#endif
