/* Leaks threads or processes at a rate until one is refused, lingers, and ends. Prints "onset
 * SECONDS" (CLOCK_MONOTONIC) before the first, "refused SECONDS" at the first refusal.
 *
 * Usage: leak -r RATE -n COUNT [OPTION]...
 *
 * - RATE is a second, and COUNT the most; both of all workers together
 *
 * - -p: processes that sleep, instead of threads
 *
 * - -k: is kept when its parent ends, as the first process of a container has to be
 *
 * - -d SETTLE: seconds of rest before the first, 2 by default
 *
 * - -l LINGER: seconds for which it goes on after the first refusal, 5 by default
 *
 * - -t SECONDS: ends after that long at the latest, 60 by default
 *
 * - -w WORKERS: processes that leak, 1 by default
 *
 * - -b ON -q OFF: leaks for ON seconds, pauses for OFF, and so on */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES 32768

struct plan {
	double rate, settle, linger, seconds, on, off;
	long count;
	int workers, processes, is_kept;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_until(double when)
{
	struct timespec time = {.tv_sec = (time_t)when};

	time.tv_nsec = (long)((when - (double)time.tv_sec) * 1e9);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR)
		;
}

static void tell(const char *what)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%s %.9f\n", what, now());

	if (write(1, line, (size_t)length) != length)
		err(1, "stdout");
}

static void *sleep_on(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static int leak_process(void)
{
	pid_t child = fork();

	if (child < 0)
		return -1;
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep_on(NULL);
	}
	return 0;
}

static int leak_thread(const pthread_attr_t *small)
{
	pthread_t id;

	return pthread_create(&id, small, sleep_on, NULL);
}

/* When the number-th of all is due, seconds after the onset. */
static double due(const struct plan *plan, long number)
{
	double busy = (double)number / plan->rate;

	if (plan->on <= 0)
		return busy;
	return busy + (double)(long)(busy / plan->on) * plan->off;
}

static void leak(const struct plan *plan, int worker, double onset)
{
	double refused = 0, end = onset + plan->seconds;
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	for (long number = worker; number < plan->count; number += plan->workers) {
		double next = onset + due(plan, number);

		if (next > end || (refused > 0 && next > refused + plan->linger))
			break;
		sleep_until(next);
		if (number == 0)
			tell("onset");
		if ((plan->processes ? leak_process() : leak_thread(&small)) && refused == 0) {
			refused = now();
			tell("refused");
		}
	}
	sleep_until(refused > 0 && refused + plan->linger < end ? refused + plan->linger : end);
	_exit(0);
}

static struct plan parse(int argc, char **argv)
{
	struct plan plan = {.settle = 2, .linger = 5, .seconds = 60, .workers = 1};
	int option;

	while ((option = getopt(argc, argv, "kpr:n:d:l:t:w:b:q:")) > 0) {
		double value = optarg ? atof(optarg) : 0;

		switch (option) {
		case 'k':
			plan.is_kept = 1;
			break;
		case 'p':
			plan.processes = 1;
			break;
		case 'r':
			plan.rate = value;
			break;
		case 'n':
			plan.count = (long)value;
			break;
		case 'd':
			plan.settle = value;
			break;
		case 'l':
			plan.linger = value;
			break;
		case 't':
			plan.seconds = value;
			break;
		case 'w':
			plan.workers = (int)value;
			break;
		case 'b':
			plan.on = value;
			break;
		case 'q':
			plan.off = value;
			break;
		default:
			exit(2);
		}
	}
	if (plan.rate <= 0 || plan.count <= 0 || plan.workers <= 0)
		errx(2, "usage: leak [-p] -r RATE -n COUNT ...");
	return plan;
}

int main(int argc, char **argv)
{
	struct plan plan = parse(argc, argv);
	double onset = now() + plan.settle;

	if (!plan.is_kept)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (plan.workers == 1)
		leak(&plan, 0, onset);
	for (int worker = 0; worker < plan.workers; worker++) {
		pid_t child = fork();

		if (child < 0)
			err(1, "fork");
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			leak(&plan, worker, onset);
		}
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
