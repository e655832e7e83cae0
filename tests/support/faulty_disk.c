/* A disk that fails when it is told to, for a process that is started with this in LD_PRELOAD.

   It is about the files whose path begins with FAULTY_DISK_PREFIX. What goes wrong is said by struct control, which lies
   in the file FAULTY_DISK_CONTROL and may be written while the process runs; faulty_disk.py has the other end.

   Where FAULTY_DISK_DURABLE names a folder it holds what a power cut would leave of each file: the bytes that were
   there when the file was opened, and since then those of which a sync has said that they are kept. A sync that fails
   keeps nothing, and the writes before it are lost for good, as on Linux, where such pages count as clean. Of two syncs
   of a file at once the second keeps what was written before the first as well, as on Linux, where it waits for the
   pages that are on their way to the disk. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct control {
    /* What is to happen: numbers of errors (0: none), counts and milliseconds. */
    int32_t write_error, only_growth, sync_error, read_error, open_error, hold_syncs, sync_delay, crash_after;
    /* What has happened. */
    int32_t writes, reads, syncs, refused, held;
};

struct pending { /* a write that no sync has kept yet; without data the file's new length */
    struct pending *next;
    off_t offset;
    size_t size;
    char *data;
};

#define MOST_FILES 4096
static struct { char *durable; int is_ours; } files[MOST_FILES]; /* by descriptor */
static struct { char *durable; struct pending *first, **end; pthread_mutex_t syncing; } dirty[64]; /* by file: few */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct control *control;
static const char *prefix, *folder;

#define REAL(name, result, ...) \
    static result (*real_##name)(__VA_ARGS__); \
    __attribute__((constructor)) static void find_##name(void) { real_##name = dlsym(RTLD_NEXT, #name); }
REAL(open, int, const char *, int, ...)
REAL(openat, int, int, const char *, int, ...)
REAL(close, int, int)
REAL(unlink, int, const char *)
REAL(read, ssize_t, int, void *, size_t)
REAL(pread, ssize_t, int, void *, size_t, off_t)
REAL(write, ssize_t, int, const void *, size_t)
REAL(pwrite, ssize_t, int, const void *, size_t, off_t)
REAL(ftruncate, int, int, off_t)
REAL(fallocate, int, int, int, off_t, off_t)
REAL(fsync, int, int)
REAL(fdatasync, int, int)

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTY_DISK_CONTROL");
    prefix = getenv("FAULTY_DISK_PREFIX");
    folder = getenv("FAULTY_DISK_DURABLE");
    if (!path || !prefix)
        return;
    int fd = real_open(path, O_RDWR);
    void *found = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found == MAP_FAILED) {
        perror(path);
        _exit(70);
    }
    real_close(fd);
    control = found;
}

static int is_ours(int fd) { return control && fd >= 0 && fd < MOST_FILES && files[fd].is_ours; }

static int concerns(const char *path) { return control && !strncmp(path, prefix, strlen(prefix)); }

static int refused(int error)
{
    __atomic_add_fetch(&control->refused, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return -1;
}

/* What a power cut would leave. */

static char *durable_name(const char *path)
{
    const char *name = strrchr(path, '/'), *end = path + strlen(path);
    char *found = NULL;
    if (!folder || (end - path > 4 && !strcmp(end - 4, "-shm"))) /* that one is built anew by whoever opens the store */
        return NULL;
    return asprintf(&found, "%s/%s", folder, name ? name + 1 : path) < 0 ? NULL : found;
}

/* A file is as durable as it is when it is opened for the first time. */
static void begin_durable(int fd, const char *name)
{
    char block[65536];
    ssize_t size;
    off_t offset = 0;
    int copy = real_open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (copy < 0)
        return;
    while ((size = real_pread(fd, block, sizeof block, offset)) > 0)
        offset += real_pwrite(copy, block, size, offset);
    real_close(copy);
}

static int place_of(const char *durable)
{
    int i = 0;
    while (dirty[i].durable && strcmp(dirty[i].durable, durable))
        i++;
    if (!dirty[i].durable) {
        dirty[i].durable = strdup(durable);
        dirty[i].end = &dirty[i].first;
        pthread_mutex_init(&dirty[i].syncing, NULL);
    }
    return i;
}

static void remember(int fd, const void *data, size_t size, off_t offset)
{
    if (!files[fd].durable)
        return;
    struct pending *new = calloc(1, sizeof *new);
    new->offset = offset;
    new->size = size;
    if (data)
        new->data = memcpy(malloc(size), data, size);
    pthread_mutex_lock(&lock);
    int i = place_of(files[fd].durable);
    *dirty[i].end = new;
    dirty[i].end = &new->next;
    pthread_mutex_unlock(&lock);
}

static struct pending *taken(const char *durable)
{
    pthread_mutex_lock(&lock);
    int i = place_of(durable);
    struct pending *first = dirty[i].first;
    dirty[i].first = NULL;
    dirty[i].end = &dirty[i].first;
    pthread_mutex_unlock(&lock);
    return first;
}

static pthread_mutex_t *syncing_of(const char *durable)
{
    pthread_mutex_lock(&lock);
    int i = place_of(durable);
    pthread_mutex_unlock(&lock);
    return &dirty[i].syncing;
}

static void settle(const char *durable, struct pending *each, int is_kept)
{
    int copy = is_kept ? real_open(durable, O_WRONLY | O_CREAT, 0600) : -1;
    while (each) {
        struct pending *done = each;
        if (is_kept && (each->data ? real_pwrite(copy, each->data, each->size, each->offset) != (ssize_t)each->size
                                   : real_ftruncate(copy, each->offset)))
            perror(durable);
        each = each->next;
        free(done->data);
        free(done);
    }
    if (is_kept)
        real_close(copy);
}

/* Files as the process sees them. */

static int opened(int fd, const char *path)
{
    if (fd < 0 || fd >= MOST_FILES || !concerns(path))
        return fd;
    files[fd].durable = durable_name(path);
    files[fd].is_ours = 1;
    if (files[fd].durable)
        begin_durable(fd, files[fd].durable);
    return fd;
}

static int is_open_refused(const char *path, int flags)
{
    return concerns(path) && control->open_error && (flags & (O_WRONLY | O_RDWR | O_CREAT));
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (is_open_refused(path, flags))
        return refused(control->open_error);
    return opened(real_open(path, flags, mode), path);
}

int openat(int at, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (is_open_refused(path, flags))
        return refused(control->open_error);
    return opened(real_openat(at, path, flags, mode), path);
}

int close(int fd)
{
    if (is_ours(fd)) {
        free(files[fd].durable);
        files[fd].durable = NULL;
        files[fd].is_ours = 0;
    }
    return real_close(fd);
}

int unlink(const char *path)
{
    if (!concerns(path))
        return real_unlink(path);
    if (control->open_error)
        return refused(control->open_error);
    char *durable = durable_name(path);
    if (durable) {
        settle(durable, taken(durable), 0);
        real_unlink(durable);
    }
    free(durable);
    return real_unlink(path);
}

/* Reads. */

static int is_read_refused(int fd)
{
    if (!is_ours(fd))
        return 0;
    __atomic_add_fetch(&control->reads, 1, __ATOMIC_SEQ_CST);
    return control->read_error;
}

ssize_t read(int fd, void *data, size_t size)
{
    return is_read_refused(fd) ? refused(control->read_error) : real_read(fd, data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return is_read_refused(fd) ? refused(control->read_error) : real_pread(fd, data, size, offset);
}

/* Writes. */

/* Whether the process dies at this one. */
static int is_last(void)
{
    return control->crash_after && __atomic_sub_fetch(&control->crash_after, 1, __ATOMIC_SEQ_CST) == 0;
}

static int write_error(int fd, off_t end)
{
    struct stat now;
    __atomic_add_fetch(&control->writes, 1, __ATOMIC_SEQ_CST);
    if (control->write_error && control->only_growth && !fstat(fd, &now) && end <= now.st_size)
        return 0;
    return control->write_error;
}

static ssize_t written(int fd, const void *data, size_t size, off_t offset)
{
    int error = write_error(fd, offset + size);
    if (error)
        return refused(error);
    if (is_last()) {
        real_pwrite(fd, data, size / 2, offset);
        kill(getpid(), SIGKILL);
    }
    ssize_t done = real_pwrite(fd, data, size, offset);
    if (done > 0)
        remember(fd, data, done, offset);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return is_ours(fd) ? written(fd, data, size, offset) : real_pwrite(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (!is_ours(fd))
        return real_write(fd, data, size);
    ssize_t done = written(fd, data, size, lseek(fd, 0, SEEK_CUR));
    if (done > 0)
        lseek(fd, done, SEEK_CUR);
    return done;
}

int ftruncate(int fd, off_t size)
{
    if (!is_ours(fd))
        return real_ftruncate(fd, size);
    int error = write_error(fd, size), done;
    if (error)
        return refused(error);
    if (!(done = real_ftruncate(fd, size)))
        remember(fd, NULL, 0, size);
    return done;
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    int error = is_ours(fd) ? write_error(fd, offset + size) : 0;
    return error ? refused(error) : real_fallocate(fd, mode, offset, size);
}

/* Syncs. */

static void take_as_long_as_told(void)
{
    __atomic_add_fetch(&control->held, 1, __ATOMIC_SEQ_CST);
    usleep(1000 * control->sync_delay);
    while (control->hold_syncs)
        usleep(500);
    __atomic_sub_fetch(&control->held, 1, __ATOMIC_SEQ_CST);
}

static int synced_now(int fd, int (*sync)(int))
{
    const char *durable = files[fd].durable;
    struct pending *first = durable ? taken(durable) : NULL;
    take_as_long_as_told();
    if (is_last())
        kill(getpid(), SIGKILL);
    int error = control->sync_error, done = error ? refused(error) : sync(fd);
    settle(durable, first, durable && !done);
    return done;
}

/* One after another of each file: whoever has nothing to write because another's sync is at it must not be told that
   it is kept before it is. */
static int synced(int fd, int (*sync)(int))
{
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    if (!files[fd].durable)
        return synced_now(fd, sync);
    pthread_mutex_t *syncing = syncing_of(files[fd].durable);
    pthread_mutex_lock(syncing);
    int done = synced_now(fd, sync);
    pthread_mutex_unlock(syncing);
    return done;
}

int fsync(int fd) { return is_ours(fd) ? synced(fd, real_fsync) : real_fsync(fd); }

int fdatasync(int fd) { return is_ours(fd) ? synced(fd, real_fdatasync) : real_fdatasync(fd); }

/* With files of any size the C library has each of these under two names. */
int open64(const char *, int, ...) __attribute__((alias("open")));
int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
