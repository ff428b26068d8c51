/*
 * leak: a workload with a known number of births, for tests that demand that number.
 *
 *   leak threads N   create N threads and keep them
 *   leak churn N     create N threads, joining each before the next
 *   leak forks N     fork N children, reaping each before the next
 *
 *   --rate R         births per second at most; 0, the default: as fast as possible
 *   --name NAME      name of the threads (15 bytes); '#' becomes the thread's number from 1
 *   --hold SECONDS   how long to stay after the ready line; default: until the limit
 *   --limit SECONDS  the process ends by then, whatever it is doing; default 60, at most 3600
 *   --wait           print "waiting" and begin at SIGUSR1, so that an observer can be attached
 *
 * Each birth is one attempt: a refused one is counted and not repeated. Then one line on stdout:
 *
 *   ready created=<n> refused=<n> errno=<last errno, or 0>
 *
 * Ends with 0 after the hold or at SIGTERM or SIGINT, with 124 at the limit, with 2 on bad usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 20000 /* below the smallest usual pid_max, 32768: a typing error harms no one */
#define MAX_BIRTHS 1000000
#define MAX_LIMIT_SECONDS 3600
#define STACK_BYTES (64 * 1024)

static const char *thread_name = "leak";

/* As PID 1 of its namespace the process ignores signals that have no handler: give each one. */
static void end_well(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void end_late(int signal_number)
{
	(void)signal_number;
	_exit(124);
}

static void usage(const char *why)
{
	fprintf(stderr, "leak: %s\n"
		"usage: leak threads|churn|forks N [--rate R] [--name NAME] [--hold SECONDS]"
		" [--limit SECONDS] [--wait]\n", why);
	exit(2);
}

static long number(const char *text, long max, const char *what)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < 0 || value > max)
		usage(what);
	return value;
}

static void name_self(long index)
{
	char name[16] = "", digits[16];
	const char *from;
	size_t used = 0;

	snprintf(digits, sizeof(digits), "%ld", index);
	for (from = thread_name; *from && used < sizeof(name) - 1; from++) {
		if (*from == '#')
			used += (size_t)snprintf(name + used, sizeof(name) - used, "%s", digits);
		else
			name[used++] = *from;
		if (used > sizeof(name) - 1)
			used = sizeof(name) - 1;
	}
	name[used] = '\0';
	pthread_setname_np(pthread_self(), name);
}

static pthread_barrier_t named;

static void *stay(void *index)
{
	name_self((long)index);
	pthread_barrier_wait(&named);
	for (;;)
		pause();
	return NULL;
}

static void *leave(void *index)
{
	name_self((long)index);
	return NULL;
}

/* One birth; 0, or the errno of the refusal. */
static int create_kept(const pthread_attr_t *attributes, long index)
{
	pthread_t thread;
	int error = pthread_create(&thread, attributes, stay, (void *)index);

	if (!error)
		pthread_barrier_wait(&named); /* ready means: created and named */
	return error;
}

static int create_joined(const pthread_attr_t *attributes, long index)
{
	pthread_t thread;
	int error = pthread_create(&thread, attributes, leave, (void *)index);

	if (!error)
		pthread_join(thread, NULL);
	return error;
}

static int fork_reaped(const pthread_attr_t *attributes, long index)
{
	pid_t child = fork();

	(void)attributes;
	(void)index;
	if (child < 0)
		return errno;
	if (child == 0)
		_exit(0);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static void handle(int signal_number, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(signal_number, &action, NULL);
}

static void await_start(const sigset_t *start)
{
	int got;

	puts("waiting");
	fflush(stdout);
	sigwait(start, &got);
}

static void sleep_until(struct timespec when)
{
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
		;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rate", required_argument, NULL, 'r' }, { "name", required_argument, NULL, 'n' },
		{ "hold", required_argument, NULL, 'h' }, { "limit", required_argument, NULL, 'l' },
		{ "wait", no_argument, NULL, 'w' },       { 0 },
	};
	int (*birth)(const pthread_attr_t *, long) = NULL;
	long count, most = MAX_BIRTHS, rate = 0, hold = -1, limit = 60, created = 0, refused = 0;
	int option, wait_first = 0, error = 0;
	pthread_attr_t attributes;
	struct timespec next;
	sigset_t start;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'r')
			rate = number(optarg, 1000000, "--rate wants 0 to 1000000");
		else if (option == 'n')
			thread_name = optarg;
		else if (option == 'h')
			hold = number(optarg, MAX_LIMIT_SECONDS, "--hold wants 0 to 3600");
		else if (option == 'l')
			limit = number(optarg, MAX_LIMIT_SECONDS, "--limit wants 1 to 3600");
		else if (option == 'w')
			wait_first = 1;
		else
			usage("unknown option");
	}
	if (argc - optind != 2)
		usage("a mode and a count are wanted");
	if (limit == 0)
		usage("--limit wants 1 to 3600");
	if (!strcmp(argv[optind], "threads")) {
		birth = create_kept;
		most = MAX_THREADS;
	} else if (!strcmp(argv[optind], "churn")) {
		birth = create_joined;
	} else if (!strcmp(argv[optind], "forks")) {
		birth = fork_reaped;
	} else {
		usage("unknown mode");
	}
	count = number(argv[optind + 1], most, "the count is beyond its bound");

	handle(SIGALRM, end_late);
	handle(SIGTERM, end_well);
	handle(SIGINT, end_well);
	alarm((unsigned int)limit);
	sigemptyset(&start);
	sigaddset(&start, SIGUSR1);
	sigprocmask(SIG_BLOCK, &start, NULL);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_barrier_init(&named, NULL, 2);

	if (wait_first)
		await_start(&start);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (long index = 1; index <= count; index++) {
		int failed = birth(&attributes, index);

		if (failed) {
			refused++;
			error = failed;
		} else {
			created++;
		}
		if (rate) {
			next.tv_nsec += 1000000000L / rate;
			next.tv_sec += next.tv_nsec / 1000000000L;
			next.tv_nsec %= 1000000000L;
			sleep_until(next);
		}
	}
	printf("ready created=%ld refused=%ld errno=%d\n", created, refused, error);
	fflush(stdout);

	if (hold < 0)
		for (;;)
			pause();
	clock_gettime(CLOCK_MONOTONIC, &next);
	next.tv_sec += hold;
	sleep_until(next);
	_exit(0);
}
