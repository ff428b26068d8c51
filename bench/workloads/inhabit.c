/* Inhabits cgroups: one resident process in each, which forks once for each byte on stdin.
 * Usage: inhabit LIST, the paths of cgroups being lines of the file LIST. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PATHS 20000

struct board {
	atomic_int round;    /* residents sleep on this */
	atomic_int finished; /* residents that have forked in this round */
};

static struct board *board;
static char *paths[MAX_PATHS];

static void wait_while(atomic_int *word, int value)
{
	while (atomic_load(word) == value)
		syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void enter(const char *path)
{
	char file[4096];
	int fd;

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		err(1, "%s", file);
	close(fd);
}

static void reside(const char *path)
{
	pid_t child;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter(path);
	for (int round = 0;; round++) {
		atomic_fetch_add(&board->finished, 1);
		wait_while(&board->round, round);
		child = fork();
		if (child < 0)
			err(1, "fork");
		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
}

static void wait_for_all(int count)
{
	while (atomic_load(&board->finished) < count) {
		if (waitpid(-1, NULL, WNOHANG) > 0)
			errx(1, "a resident has gone");
		usleep(1000);
	}
	atomic_store(&board->finished, 0);
}

int main(int argc, char **argv)
{
	char line[4096], command;
	int count = 0;
	FILE *list;

	if (argc != 2)
		errx(2, "usage: inhabit LIST");
	list = fopen(argv[1], "r");
	if (!list)
		err(1, "%s", argv[1]);
	while (count < MAX_PATHS && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = 0;
		paths[count++] = strdup(line);
	}
	fclose(list);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		err(1, "mmap");
	for (int i = 0; i < count; i++) {
		pid_t resident = fork();

		if (resident < 0)
			err(1, "fork");
		if (!resident)
			reside(paths[i]);
	}
	wait_for_all(count);
	if (write(1, "+", 1) != 1)
		err(1, "stdout");
	while (read(0, &command, 1) == 1) {
		atomic_fetch_add(&board->round, 1);
		syscall(SYS_futex, &board->round, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
		wait_for_all(count);
		if (write(1, &command, 1) != 1)
			err(1, "stdout");
	}
	return 0; /* residents go with their parent */
}
