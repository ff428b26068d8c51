/* CLOCK_REALTIME, moved by so many seconds as the file CLOCK_OFFSET_FILE says (8 bytes, shared). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

typedef int (*clock_gettime_function)(clockid_t, struct timespec *);

static volatile int64_t none, *offset = &none;
static clock_gettime_function true_time;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("CLOCK_OFFSET_FILE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *shared;

	true_time = (clock_gettime_function)dlsym(RTLD_NEXT, "clock_gettime");
	if (fd < 0)
		return;
	shared = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (shared != MAP_FAILED)
		offset = shared;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int result = true_time(clock, now);

	if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += *offset;
	return result;
}
