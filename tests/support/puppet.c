/*
 * puppet: creates exactly the tasks it is told to, so that tests can demand their number.
 *
 * Reads one command a line on standard input and answers each with one line on standard output:
 *
 *   ok created=<n> refused=<n> errno=<last errno, or 0>
 *
 * It creates no task but those of its commands. Its children die with it, and at the latest after
 * LIFE_SECONDS it dies itself. At end of file it exits.
 *
 *   threads N             create N threads that stay
 *   join N                let the N newest threads end
 *   churn N               create N threads, joining each before the next
 *   forks N               fork N children, reaping each before the next
 *   keep N                fork N children that stay
 *   reap                  end them
 *   vforks N, spawns N    the same as forks, by vfork and posix_spawn
 *   invalid N             N clones with flags that no kernel takes
 *   into DIRECTORY N      clone3 with CLONE_INTO_CGROUP, reaping each before the next
 *   signalled N           N raw forks while another thread (one birth more) sends signals
 *   user UID LIMIT        become that user, with this RLIMIT_NPROC
 *   user-namespace        move to a new user namespace
 *   pid-namespace MAX     become the init of a new PID namespace, with this pid_max (0: as it is);
 *                         on a kernel that has one for each namespace, 6.14 or newer, only
 *   dead-namespace N      N forks into a PID namespace whose init has ended
 *   namespaces N          N clones with a new UTS namespace, of which none is allowed
 *   hoard                 map more than the kernel lets a child copy, which takes no memory
 *   forbidden ERRNO N     N raw forks, which a seccomp filter answers with that errno
 *   without-clone3        let a seccomp filter answer clone3 with ENOSYS
 *   leave-leader          let a new thread take over, and the thread group's leader exit
 *   exec-thread           let a new thread execute this program again
 *   visit DIRECTORY N     make a cgroup, enter it, fork and reap N, leave it and remove it
 *   storm forks|churn SECONDS MAX
 *                         the same, as fast as possible, until one of both is reached
 *   name HEX              the name of the calling thread, any bytes
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hoard.h"

#define MAX_TASKS 4096 /* at a time; well below the smallest usual pid_max, 32768 */
#define LIFE_SECONDS 180
#define STACK_BYTES (128 * 1024) /* the least that glibc takes on arm64 */

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

struct result {
	long created;
	long refused;
	int error;
};

static const char *program;
static pthread_attr_t small_stack;
static pthread_t threads[MAX_TASKS];
static pthread_mutex_t gates[MAX_TASKS];
static int thread_count;
static pid_t children[MAX_TASKS];
static int child_count;

static void command_loop(void);

static void die(const char *what)
{
	fprintf(stderr, "puppet: %s: %s\n", what, strerror(errno));
	_exit(2);
}

static void count(struct result *result, int error)
{
	if (error == 0) {
		result->created++;
	} else {
		result->refused++;
		result->error = error;
	}
}

static void *wait_at_gate(void *gate)
{
	pthread_mutex_lock(gate);
	return NULL;
}

static void *return_at_once(void *unused)
{
	return unused;
}

static void keep_thread(struct result *result)
{
	int error;

	if (thread_count == MAX_TASKS) {
		errno = E2BIG;
		die("threads");
	}
	pthread_mutex_init(&gates[thread_count], NULL);
	pthread_mutex_lock(&gates[thread_count]);
	error = pthread_create(&threads[thread_count], &small_stack, wait_at_gate,
			       &gates[thread_count]);
	count(result, error);
	if (!error)
		thread_count++;
}

static void join_newest(void)
{
	if (!thread_count)
		return;
	thread_count--;
	pthread_mutex_unlock(&gates[thread_count]);
	pthread_join(threads[thread_count], NULL);
}

static void churn(struct result *result)
{
	pthread_t thread;
	int error = pthread_create(&thread, &small_stack, return_at_once, NULL);

	count(result, error);
	if (!error)
		pthread_join(thread, NULL);
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

static void fork_and_reap(struct result *result)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	count(result, pid < 0 ? errno : 0);
	if (pid > 0)
		reap(pid);
}

static void fork_and_keep(struct result *result)
{
	pid_t pid;

	if (child_count == MAX_TASKS) {
		errno = E2BIG;
		die("keep");
	}
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(LIFE_SECONDS);
		for (;;)
			pause();
	}
	count(result, pid < 0 ? errno : 0);
	if (pid > 0)
		children[child_count++] = pid;
}

static void end_children(void)
{
	for (int i = 0; i < child_count; i++)
		kill(children[i], SIGKILL);
	while (child_count)
		reap(children[--child_count]);
}

static void vfork_and_reap(struct result *result)
{
	pid_t pid = vfork();

	if (pid == 0)
		_exit(0);
	count(result, pid < 0 ? errno : 0);
	if (pid > 0)
		reap(pid);
}

static void spawn_and_reap(struct result *result)
{
	char *arguments[] = {(char *)program, "--exit", NULL};
	char *environment[] = {NULL};
	pid_t pid;
	int error = posix_spawn(&pid, program, NULL, NULL, arguments, environment);

	count(result, error);
	if (!error)
		reap(pid);
}

static void clone_invalid(struct result *result)
{
	/* A thread that shares no signal handlers: copy_process answers EINVAL. */
	long pid = syscall(SYS_clone, (unsigned long)CLONE_THREAD, 0, 0, 0, 0);

	count(result, pid < 0 ? errno : 0);
}

static void clone_into(struct result *result, const char *directory, long number)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(directory);
	for (long i = 0; i < number; i++) {
		struct clone_args arguments = {
			.flags = CLONE_INTO_CGROUP,
			.exit_signal = SIGCHLD,
			.cgroup = (uint64_t)fd,
		};
		long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));

		if (pid == 0)
			_exit(0);
		count(result, pid < 0 ? errno : 0);
		if (pid > 0)
			reap((pid_t)pid);
	}
	close(fd);
}

static volatile int signalling;
static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
	(void)number;
	signals_seen++;
}

static void *send_signals(void *target)
{
	while (signalling)
		pthread_kill(*(pthread_t *)target, SIGUSR1);
	return NULL;
}

/* A signal that arrives between the entry of clone and copy_process makes the kernel return
 * ERESTARTNOINTR and enter the system call again. Raw clones: the C library's fork would block
 * signals meanwhile. */
static void fork_signalled(struct result *result, long number)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t self = pthread_self(), sender;
	int error;

	sigaction(SIGUSR1, &action, NULL);
	signalling = 1;
	error = pthread_create(&sender, &small_stack, send_signals, &self);
	if (error)
		die("pthread_create");
	for (long i = 0; i < number; i++) {
		long pid = syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);

		if (pid == 0)
			syscall(SYS_exit_group, 0);
		count(result, pid < 0 ? errno : 0);
		if (pid > 0)
			reap((pid_t)pid);
	}
	signalling = 0;
	pthread_join(sender, NULL);
}

static void become_user(long uid, long limit)
{
	struct rlimit limits = {(rlim_t)limit, (rlim_t)limit};

	if (setrlimit(RLIMIT_NPROC, &limits) || setgid((gid_t)uid) || setuid((uid_t)uid))
		die("user");
}

static void write_file(const char *path, long value)
{
	FILE *file = fopen(path, "w");

	if (!file || fprintf(file, "%ld", value) < 0 || fclose(file))
		die(path);
}

static void enter_pid_namespace(long pid_max)
{
	pid_t init;

	if (unshare(CLONE_NEWPID))
		die("unshare");
	init = fork();
	if (init < 0)
		die("fork");
	if (init) {
		reap(init);
		_exit(0);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pid_max)
		write_file("/proc/sys/kernel/pid_max", pid_max);
}

static void fork_into_dead_namespace(struct result *result, long number)
{
	if (unshare(CLONE_NEWPID))
		die("unshare");
	fork_and_reap(result); /* its init */
	for (long i = 0; i < number; i++)
		fork_and_reap(result);
}

/* In a user namespace of its own, the sysctl is its own too. */
static void clone_into_namespaces(struct result *result, long number)
{
	if (unshare(CLONE_NEWUSER))
		die("unshare");
	write_file("/proc/sys/user/max_uts_namespaces", 0);
	for (long i = 0; i < number; i++) {
		long pid = syscall(SYS_clone, (unsigned long)(CLONE_NEWUTS | SIGCHLD), 0, 0, 0, 0);

		if (pid == 0)
			_exit(0);
		count(result, pid < 0 ? errno : 0);
		if (pid > 0)
			reap((pid_t)pid);
	}
}

static void answer_call(uint32_t number, uint32_t error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		die("seccomp");
}

static void fork_forbidden(struct result *result, long error, long number)
{
	answer_call(SYS_clone, (uint32_t)error);
	for (long i = 0; i < number; i++) {
		long pid = syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);

		if (pid == 0)
			_exit(0);
		count(result, pid < 0 ? errno : 0);
	}
}

static void answer(const struct result *result)
{
	printf("ok created=%ld refused=%ld errno=%d\n", result->created, result->refused,
	       result->error);
	fflush(stdout);
}

static void *take_over(void *answered)
{
	struct result result = {.created = 1};

	pthread_join(*(pthread_t *)answered, NULL); /* returns once the leader has ended */
	answer(&result);
	command_loop();
	_exit(0);
}

static void *execute_again(void *unused)
{
	(void)unused;
	execl(program, program, "--executed", NULL);
	die("execl");
	return NULL;
}

static pthread_t leader;

static void leave_leader(void)
{
	pthread_t successor;
	int error;

	leader = pthread_self();
	error = pthread_create(&successor, NULL, take_over, &leader);
	if (error)
		die("pthread_create");
	pthread_exit(NULL);
}

static void exec_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, execute_again, NULL))
		die("pthread_create");
	for (;;)
		pause();
}

static void enter_cgroup(const char *directory)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(path);
	close(fd);
}

static void visit(struct result *result, const char *directory, long number)
{
	char parent[4096];

	snprintf(parent, sizeof(parent), "%s", directory);
	*strrchr(parent, '/') = 0;
	if (mkdir(directory, 0755))
		die(directory);
	enter_cgroup(directory);
	for (long i = 0; i < number; i++)
		fork_and_reap(result);
	enter_cgroup(parent);
	if (rmdir(directory))
		die(directory);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void storm(struct result *result, void (*birth)(struct result *), double seconds, long max)
{
	double end = now() + seconds;

	while (result->created + result->refused < max && now() < end)
		birth(result);
}

static void set_name(const char *hex)
{
	char name[16] = "";
	unsigned int byte;

	for (int i = 0; i < 15 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		name[i] = (char)byte;
	prctl(PR_SET_NAME, name);
}

static void repeat(struct result *result, void (*birth)(struct result *), long number)
{
	for (long i = 0; i < number; i++)
		birth(result);
}

static void obey(const char *command, char *one, char *two, char *three)
{
	struct result result = {0};
	long number = one ? atol(one) : 0;

	if (!strcmp(command, "threads"))
		repeat(&result, keep_thread, number);
	else if (!strcmp(command, "churn"))
		repeat(&result, churn, number);
	else if (!strcmp(command, "forks"))
		repeat(&result, fork_and_reap, number);
	else if (!strcmp(command, "keep"))
		repeat(&result, fork_and_keep, number);
	else if (!strcmp(command, "vforks"))
		repeat(&result, vfork_and_reap, number);
	else if (!strcmp(command, "spawns"))
		repeat(&result, spawn_and_reap, number);
	else if (!strcmp(command, "invalid"))
		repeat(&result, clone_invalid, number);
	else if (!strcmp(command, "signalled"))
		fork_signalled(&result, number);
	else if (!strcmp(command, "into") && two)
		clone_into(&result, one, atol(two));
	else if (!strcmp(command, "visit") && two)
		visit(&result, one, atol(two));
	else if (!strcmp(command, "user") && two)
		become_user(number, atol(two));
	else if (!strcmp(command, "storm") && three)
		storm(&result, strcmp(one, "forks") ? churn : fork_and_reap, atof(two), atol(three));
	else if (!strcmp(command, "user-namespace")) {
		if (unshare(CLONE_NEWUSER))
			die("unshare");
	} else if (!strcmp(command, "name") && one)
		set_name(one);
	else if (!strcmp(command, "join"))
		for (; number; number--)
			join_newest();
	else if (!strcmp(command, "reap"))
		end_children();
	else if (!strcmp(command, "pid-namespace"))
		enter_pid_namespace(number);
	else if (!strcmp(command, "dead-namespace"))
		fork_into_dead_namespace(&result, number);
	else if (!strcmp(command, "namespaces"))
		clone_into_namespaces(&result, number);
	else if (!strcmp(command, "without-clone3"))
		answer_call(SYS_clone3, ENOSYS);
	else if (!strcmp(command, "forbidden") && two)
		fork_forbidden(&result, number, atol(two));
	else if (!strcmp(command, "hoard")) {
		if (hoard())
			die("hoard");
	} else if (!strcmp(command, "leave-leader"))
		leave_leader();
	else if (!strcmp(command, "exec-thread"))
		exec_thread();
	else {
		errno = EINVAL;
		die(command);
	}
	answer(&result);
}

static void command_loop(void)
{
	static char line[8192];

	while (fgets(line, sizeof(line), stdin)) {
		char *command = strtok(line, " \n"), *one = strtok(NULL, " \n");
		char *two = strtok(NULL, " \n"), *three = strtok(NULL, " \n");

		if (command)
			obey(command, one, two, three);
	}
}

int main(int argc, char **argv)
{
	struct result nothing = {0};

	if (argc > 1 && !strcmp(argv[1], "--exit"))
		return 0;
	program = argv[0];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(LIFE_SECONDS);
	/* No buffer: bytes read ahead would be lost when the program is executed again. */
	setvbuf(stdin, NULL, _IONBF, 0);
	pthread_attr_init(&small_stack);
	pthread_attr_setstacksize(&small_stack, STACK_BYTES);
	answer(&nothing);
	command_loop();
	return 0;
}
