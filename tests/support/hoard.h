/* A process that the kernel lets fork no child for want of memory, and that uses none. */
#ifndef THREADTRACE_HOARD_H
#define THREADTRACE_HOARD_H

#include <stddef.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

/* Each half is allowed on its own, but a fork has to account for the whole mapping, and more than
 * all memory and swap is refused (mm/util.c, __vm_enough_memory, vm.overcommit_memory 0).
 * 0, or -1 with errno. */
static int hoard(void)
{
	struct sysinfo memory;
	size_t half;
	char *start;

	sysinfo(&memory);
	half = (memory.totalram + memory.totalswap) * memory.mem_unit / 10 * 7 & ~0xfffffUL;
	start = mmap(NULL, 2 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED || mprotect(start, half, PROT_READ | PROT_WRITE))
		return -1;
	return mprotect(start + half, half, PROT_READ | PROT_WRITE);
}

#endif
