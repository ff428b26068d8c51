/* A fork bomb: every process forks again and again, and so do its children, until SECONDS are over.
 * Run it below a pids.max only. Prints "onset SECONDS" (CLOCK_MONOTONIC) before the first.
 * Usage: fork_bomb SETTLE SECONDS */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define REFUSED_MICROSECONDS 100000

static struct timespec now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time;
}

int main(int argc, char **argv)
{
	struct timespec onset;
	time_t end;

	if (argc != 3)
		errx(2, "usage: fork_bomb SETTLE SECONDS");
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sleep((unsigned)atoi(argv[1]));
	onset = now();
	end = onset.tv_sec + atoi(argv[2]);
	printf("onset %ld.%09ld\n", (long)onset.tv_sec, onset.tv_nsec);
	fflush(stdout);
	while (now().tv_sec < end) {
		pid_t child = fork();

		if (child < 0)
			usleep(REFUSED_MICROSECONDS);
		else if (!child)
			prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return 0;
}
