/*
 * uring: lets io_uring make workers. Commands and answers as of puppet.c:
 *
 *   open N PATH   N opens of a FIFO that nobody writes to, each of which keeps a worker waiting
 *
 * io_uring's bounded workers are four for each CPU at most. The ring is never emptied, and goes with
 * the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>

#define ENTRIES 64

static struct io_uring_params parameters;
static char path[4096];
static struct io_uring_sqe *entries;
static char *queue;
static int ring;

static void set_up(void)
{
	size_t size;

	ring = syscall(__NR_io_uring_setup, ENTRIES, &parameters);
	if (ring < 0) {
		perror("io_uring_setup");
		exit(1);
	}
	size = parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned int);
	queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	size = parameters.sq_entries * sizeof(*entries);
	entries = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (queue == MAP_FAILED || entries == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
}

static unsigned int *of_queue(unsigned int offset)
{
	return (unsigned int *)(queue + offset);
}

static void push(void)
{
	unsigned int tail = *of_queue(parameters.sq_off.tail);
	unsigned int index = tail & *of_queue(parameters.sq_off.ring_mask);
	struct io_uring_sqe *entry = &entries[index];

	memset(entry, 0, sizeof(*entry));
	entry->opcode = IORING_OP_OPENAT;
	entry->flags = IOSQE_ASYNC;
	entry->fd = AT_FDCWD;
	entry->addr = (unsigned long)path;
	entry->open_flags = O_RDONLY;
	of_queue(parameters.sq_off.array)[index] = index;
	__atomic_store_n(of_queue(parameters.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
}

static void answer(long submitted)
{
	int error = submitted < 0 ? errno : 0;

	printf("ok created=%ld refused=0 errno=%d\n", submitted < 0 ? 0 : submitted, error);
	fflush(stdout);
}

int main(void)
{
	char line[sizeof(path) + 32];
	int number;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_up();
	answer(0);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "open %d %4095s", &number, path) != 2 || number > ENTRIES)
			return 1;
		for (int i = 0; i < number; i++)
			push();
		answer(syscall(__NR_io_uring_enter, ring, number, 0, 0, NULL, 0));
	}
	return 0;
}
