/* SPDX-License-Identifier: GPL-2.0-only */
/* Each birth and exit counts once, where the kernel skips programs.
 *
 * From 7.0 on a program at a tracepoint may be preempted (a46023d5616e), and the kernel skips it for
 * every task that comes there on the same CPU meanwhile. So each of them has a second one behind it,
 * which sees the same event right afterwards and counts it if the first was skipped. An event is
 * missed only where both are, each preempted on the same CPU at the same time.
 *
 * A bit for the PID that the event is about, which no other task has meanwhile, tells the second: set
 * by the first, cleared by the second. Where the second is skipped the bit stays, and the next event
 * of that PID puts it right. */
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

static __always_inline void mark_counted(void *task)
{
	u32 pid = MEMBER(u32, task, TASK_PID);
	u64 *word = counted_word(pid);

	if (word && !(*(u64 volatile *)word & counted_bit(pid)))
		lock_xadd(word, counted_bit(pid));
}

/* Whether the first program was skipped; asked once for each event. */
static __always_inline bool is_uncounted(void *task)
{
	u32 pid = MEMBER(u32, task, TASK_PID);
	u64 *word = counted_word(pid);

	if (!word)
		return false;
	if (*(u64 volatile *)word & counted_bit(pid)) {
		lock_xadd(word, -counted_bit(pid));
		return false;
	}
	count_on_node(NODE_CAUGHT);
	return true;
}
#else
static __always_inline void mark_counted(void *task)
{
}
#endif

#endif
