/* Is refused COUNT clones by one cause, while tasks near the limit come and go on all CPUs.
 * Prints how many were refused, and with which errno (the last).
 * Usage: refused WORKERS COUNT cgroup [fast: by vfork, which copies nothing]
 *        refused WORKERS COUNT user UID LIMIT
 *        refused WORKERS COUNT pid-namespace PID_MAX LEVELS_BELOW HELD (6.14 and newer only)
 *        refused WORKERS COUNT namespaces
 *        refused WORKERS COUNT dead-namespace
 *        refused WORKERS COUNT memory */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/support/hoard.h"

#define MAX_SECONDS 30
#define MAX_LIFE_MICROSECONDS 300

struct board {
	atomic_long refused;
	atomic_int error;
};

static struct board *board;
static unsigned long clone_flags = SIGCHLD;

static void write_file(const char *path, const char *value)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(value, file) < 0 || fclose(file))
		err(1, "%s", path);
}

/* Become the init of a new PID namespace; the process before waits, and goes with it. */
static void enter_pid_namespace(const char *pid_max)
{
	pid_t init;
	int status;

	if (unshare(CLONE_NEWPID))
		err(1, "unshare");
	init = fork();
	if (init < 0)
		err(1, "fork");
	if (init) {
		waitpid(init, &status, 0);
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pid_max)
		write_file("/proc/sys/kernel/pid_max", pid_max);
}

static void hold(int count)
{
	for (int i = 0; i < count; i++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep(MAX_SECONDS + 10);
		_exit(0);
	}
}

/* From 300 on ids are given out again (RESERVED_PIDS, kernel/pid.c); lower ones only once. */
static void pass_reserved_ids(void)
{
	pid_t last = 0;

	while (last < 300) {
		last = fork();
		if (!last)
			_exit(0);
		waitpid(last, NULL, 0);
	}
}

static void prepare(char **words)
{
	if (!strcmp(words[0], "user")) {
		struct rlimit limit = {atol(words[2]), atol(words[2])};

		if (setrlimit(RLIMIT_NPROC, &limit) || setgid(atol(words[1])) ||
		    setuid(atol(words[1])))
			err(1, "user");
	} else if (!strcmp(words[0], "pid-namespace")) {
		enter_pid_namespace(words[1]);
		for (int level = atoi(words[2]); level; level--)
			enter_pid_namespace(NULL);
		pass_reserved_ids();
		hold(atoi(words[3]));
	} else if (!strcmp(words[0], "cgroup") && words[1]) {
		clone_flags |= CLONE_VM | CLONE_VFORK;
	} else if (!strcmp(words[0], "namespaces")) {
		if (unshare(CLONE_NEWUSER))
			err(1, "unshare");
		write_file("/proc/sys/user/max_uts_namespaces", "0");
		clone_flags |= CLONE_NEWUTS;
	}
}

static void leave_namespace_without_init(void)
{
	pid_t init;

	if (unshare(CLONE_NEWPID))
		err(1, "unshare");
	init = fork();
	if (!init)
		_exit(0);
	while (!kill(init, 0))
		sched_yield();
}

static void work(long count, const char *cause, unsigned int seed)
{
	time_t end = time(NULL) + MAX_SECONDS;

	signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
	if (!strcmp(cause, "dead-namespace"))
		leave_namespace_without_init();
	if (!strcmp(cause, "memory") && hoard())
		err(1, "hoard");
	while (atomic_load(&board->refused) < count && time(NULL) < end) {
		long pid = syscall(SYS_clone, clone_flags, 0, 0, 0, 0);

		if (pid < 0) {
			atomic_fetch_add(&board->refused, 1);
			atomic_store(&board->error, errno);
		} else if (!pid) {
			usleep(rand_r(&seed) % MAX_LIFE_MICROSECONDS);
			syscall(SYS_exit_group, 0);
		}
		seed++;
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	int workers;

	if (argc < 4)
		errx(2, "usage: refused WORKERS COUNT CAUSE ...");
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	             0);
	if (board == MAP_FAILED)
		err(1, "mmap");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prepare(argv + 3);
	workers = atoi(argv[1]);
	for (int i = 0; i < workers; i++) {
		pid_t worker = fork();

		if (worker < 0) { /* the one before is at it already: this counts too */
			atomic_fetch_add(&board->refused, 1);
			waitpid(-1, NULL, WNOHANG); /* one that is done gives its place */
			i--;
			continue;
		}
		if (!worker) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(atol(argv[2]), argv[3], 100 * i);
		}
	}
	for (int i = 0; i < workers; i++)
		wait(NULL);
	printf("%ld %d\n", atomic_load(&board->refused), atomic_load(&board->error));
	fflush(stdout);
	/* As a namespace's init it takes its sleepers along. */
	return 0;
}
