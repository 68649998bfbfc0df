/* Preloaded into a node by the chaos harness: moves its wall clock and slows its syncs.
 *
 * DISTURB_PAGE names a file of two 64-bit numbers, which the harness writes while the node runs: nanoseconds that the
 * wall clock is off by, and microseconds that every sync takes longer. The monotonic clock is left alone, as it is when
 * an administrator or NTP sets the time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct page {
    volatile int64_t offset_ns;
    volatile uint64_t delay_us;
};

static const struct page none;
static const struct page *page = &none;
static int (*real_clock)(clockid_t, struct timespec *);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_range)(int, off64_t, off64_t, unsigned int);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISTURB_PAGE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct page), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        page = mapped;
}

#define REAL(held, name)                                        \
    ({                                                          \
        if (!held)                                              \
            held = (__typeof__(held))dlsym(RTLD_NEXT, name);    \
        held;                                                   \
    })

static void shift(struct timespec *at) {
    int64_t ns = (int64_t)at->tv_sec * 1000000000 + at->tv_nsec + page->offset_ns;
    at->tv_sec = ns / 1000000000;
    at->tv_nsec = ns % 1000000000;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int result = REAL(real_clock, "clock_gettime")(id, at);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        shift(at);
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

static void delay(void) {
    uint64_t us = page->delay_us;
    struct timespec left = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    while (us != 0 && nanosleep(&left, &left) != 0)
        ;
}

int fsync(int file) {
    delay();
    return REAL(real_fsync, "fsync")(file);
}

int fdatasync(int file) {
    delay();
    return REAL(real_fdatasync, "fdatasync")(file);
}

int sync_file_range(int file, off64_t from, off64_t count, unsigned int flags) {
    delay();
    return REAL(real_range, "sync_file_range")(file, from, count, flags);
}
