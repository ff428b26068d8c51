/* Does one thing COUNT times, on one CPU, and prints how many nanoseconds each took: of the clock,
 * and of processor time, its threads and children included.
 * Usage: loop threads|processes|calls COUNT */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *nothing(void *argument)
{
	return argument;
}

static void thread(void)
{
	pthread_t id;

	if (pthread_create(&id, NULL, nothing, NULL))
		errx(1, "pthread_create");
	pthread_join(id, NULL);
}

static void process(void)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
}

static void call(void)
{
	syscall(SYS_getppid);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static double processor_seconds(int who)
{
	struct rusage used;

	getrusage(who, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
	       (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static double all_processor_seconds(void)
{
	return processor_seconds(RUSAGE_SELF) + processor_seconds(RUSAGE_CHILDREN);
}

static void stay_here(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

int main(int argc, char **argv)
{
	void (*body)(void);
	double start, start_used;
	long count;

	if (argc != 3)
		errx(2, "usage: loop threads|processes|calls COUNT");
	if (!strcmp(argv[1], "threads"))
		body = thread;
	else if (!strcmp(argv[1], "processes"))
		body = process;
	else
		body = call;
	count = atol(argv[2]);
	stay_here();
	start = seconds();
	start_used = all_processor_seconds();
	for (long i = 0; i < count; i++)
		body();
	printf("%.2f %.2f\n", (seconds() - start) * 1e9 / count,
	       (all_processor_seconds() - start_used) * 1e9 / count);
	return 0;
}
