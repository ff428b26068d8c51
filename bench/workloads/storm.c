/* A storm of processes from as many workers as asked for: each forks, waits and forks again until
 * the time is over or the workers have forked COUNT times together. Prints how many there were.
 * Usage: storm WORKERS SECONDS COUNT */
#define _GNU_SOURCE
#include <err.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_long *forked;

static void work(time_t end, long count)
{
	while (time(NULL) < end && atomic_fetch_add(forked, 1) < count) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	long count;
	time_t end;
	int workers;

	if (argc != 4)
		errx(2, "usage: storm WORKERS SECONDS COUNT");
	workers = atoi(argv[1]);
	end = time(NULL) + atol(argv[2]);
	count = atol(argv[3]);
	forked = mmap(NULL, sizeof(*forked), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (forked == MAP_FAILED)
		err(1, "mmap");
	for (int i = 0; i < workers; i++) {
		pid_t worker = fork();

		if (worker < 0)
			err(1, "fork");
		if (!worker) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(end, count);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	printf("%ld\n", atomic_load(forked));
	return 0;
}
