/* Visits cgroups: moves itself into each and forks there once, a round for each byte on stdin.
 * visit HOME < commands, the paths of cgroups being lines of the file LIST.
 * Usage: visit LIST HOME */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PATHS 20000

static char *paths[MAX_PATHS];

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

static void fork_once(void)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	char line[4096], command;
	int count = 0;
	FILE *list;

	if (argc != 3)
		errx(2, "usage: visit LIST HOME");
	list = fopen(argv[1], "r");
	if (!list)
		err(1, "%s", argv[1]);
	while (count < MAX_PATHS && fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = 0;
		paths[count++] = strdup(line);
	}
	fclose(list);
	enter(argv[2]);
	while (read(0, &command, 1) == 1) {
		for (int i = 0; i < count; i++) {
			enter(paths[i]);
			fork_once();
		}
		enter(argv[2]);
		if (write(1, &command, 1) != 1)
			err(1, "stdout");
	}
	return 0;
}
