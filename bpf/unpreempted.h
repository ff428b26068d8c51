/* SPDX-License-Identifier: GPL-2.0-only */
/* Programs at the return of functions may be preempted, where the kernel is preemptible, and it
 * then skips them for every task that comes there on the same CPU meanwhile. */
#ifndef THREADTRACE_UNPREEMPTED_H
#define THREADTRACE_UNPREEMPTED_H

#ifdef KERNEL_PREEMPT_DISABLE
/* A call of one of the kernel's functions is compiled like one of a helper, and made what it is by
 * probe/unpreempted.py, which tells their ids. */
#define KERNEL_FUNCTION(id) ((void *)(1UL << 30 | (id)))

static __always_inline void keep_cpu(void)
{
	static void (*preempt_disable)(void) = KERNEL_FUNCTION(KERNEL_PREEMPT_DISABLE);

	preempt_disable();
}

/* Whoever waits for the CPU gets it as soon as preemption is enabled, still within the program,
 * unless interrupts are off in that moment: then at the next occasion, after the program's end. */
static __always_inline void yield_cpu_later(void)
{
	static void (*local_irq_save)(u64 *) = KERNEL_FUNCTION(KERNEL_LOCAL_IRQ_SAVE);
	static void (*preempt_enable)(void) = KERNEL_FUNCTION(KERNEL_PREEMPT_ENABLE);
	static void (*local_irq_restore)(u64 *) = KERNEL_FUNCTION(KERNEL_LOCAL_IRQ_RESTORE);
	u64 interrupts;

	local_irq_save(&interrupts);
	preempt_enable();
	local_irq_restore(&interrupts);
}
#else
static __always_inline void keep_cpu(void)
{
}

static __always_inline void yield_cpu_later(void)
{
}
#endif

#endif
