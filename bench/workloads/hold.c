/* Holds threads that sleep, in as many processes as asked for, until its input ends.
 * Usage: hold PROCESSES THREADS-OF-EACH */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void *sleep_on(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static void hold(int threads, int ready)
{
	pthread_attr_t small;
	pthread_t id;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 1; i < threads; i++)
		if (pthread_create(&id, &small, sleep_on, NULL))
			errx(1, "pthread_create");
	if (write(ready, "+", 1) != 1)
		err(1, "pipe");
	sleep_on(NULL);
}

int main(int argc, char **argv)
{
	int ready[2], processes;
	char byte;

	if (argc != 3)
		errx(2, "usage: hold PROCESSES THREADS-OF-EACH");
	processes = atoi(argv[1]);
	if (pipe(ready))
		err(1, "pipe");
	for (int i = 0; i < processes; i++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (!child)
			hold(atoi(argv[2]), ready[1]);
	}
	close(ready[1]);
	for (int i = 0; i < processes; i++)
		if (read(ready[0], &byte, 1) != 1)
			errx(1, "a holder has gone");
	if (write(1, "+", 1) != 1)
		err(1, "stdout");
	while (read(0, &byte, 1) > 0)
		;
	return 0;
}
