/* Stands between a program and the files of one folder (LD_PRELOAD): notes every call that changes them, with its data, in
 * the order of the calls, and makes chosen calls fail.
 *
 * ANDON_FAULT_DIR    the folder; files elsewhere, and indexes of SQLite (-shm), are left alone
 * ANDON_FAULT_TRACE  where calls are noted; nothing is where it is not set
 *
 * The program says which calls fail by unlinking a file arm-AT-ERRNO-COUNT of the folder, which need not exist: COUNT calls
 * (0: all) from the AT-th on, counted from then, fail with ERRNO. The unlink answers ENOENT, and the number of the next
 * arm tells how many calls there were since the last: unlinking `calls-N` succeeds where N is at most that number.
 *
 * A record is: kind, inode, offset, length, data; numbers have 64 bits in the order of the machine.
 *   n a name: the first time that a file is seen   w written   t truncated   s synced
 *   r renamed: the new name of the inode           u unlinked: the name
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[4096];
static size_t folder_length;
static int trace = -1;
static uint64_t seen[1024];
static size_t seen_count;
static long calls, fail_at = -1, fail_count;
static int fail_errno;

__attribute__((constructor)) static void begin(void) {
    const char *dir = getenv("ANDON_FAULT_DIR"), *path = getenv("ANDON_FAULT_TRACE");
    if (dir) {
        snprintf(folder, sizeof folder, "%s/", dir);
        folder_length = strlen(folder);
    }
    if (path) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        trace = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 900);
        syscall(SYS_close, fd);
    }
}

/* The name within the folder, or NULL. */
static const char *inside(const char *path) {
    if (!folder_length || strncmp(path, folder, folder_length)) return NULL;
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return NULL;
    return path + folder_length;
}

static const char *name_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    return inside(path);
}

static void put(char kind, uint64_t inode, uint64_t offset, const void *data, uint64_t length) {
    if (trace < 0) return;
    char head[25];
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &offset, 8);
    memcpy(head + 17, &length, 8);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, data ? length : 0}};
    syscall(SYS_writev, trace, parts, 2);
}

static uint64_t inode_of(int fd, const char *name) {
    struct stat about;
    if (fstat(fd, &about)) return 0;
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i] == about.st_ino) return about.st_ino;
    if (seen_count < sizeof seen / sizeof *seen) seen[seen_count++] = about.st_ino;
    put('n', about.st_ino, 0, name, strlen(name));
    return about.st_ino;
}

/* Counts a call; whether it has to fail. */
static int fails(void) {
    long number = calls++;
    if (fail_at < 0 || number < fail_at || (fail_count && number >= fail_at + fail_count)) return 0;
    errno = fail_errno;
    return 1;
}

/* Runs the rest of a call: as it is for foreign files, noted and perhaps failing for ours. */
#define OURS(fd, real, noted)                                    \
    char path[4096];                                             \
    const char *name = name_of(fd, path, sizeof path);           \
    if (!name) return real;                                      \
    pthread_mutex_lock(&lock);                                   \
    typeof(real) result = -1;                                    \
    if (!fails()) {                                              \
        uint64_t inode = inode_of(fd, name);                     \
        result = real;                                           \
        int error = errno;                                       \
        if (result >= 0) { noted; }                              \
        errno = error;                                           \
    }                                                            \
    pthread_mutex_unlock(&lock);                                 \
    return result;

ssize_t write(int fd, const void *data, size_t length) {
    OURS(fd, syscall(SYS_write, fd, data, length), {
        uint64_t end = syscall(SYS_lseek, fd, 0, SEEK_CUR);
        put('w', inode, end - result, data, result);
    })
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    OURS(fd, syscall(SYS_pwrite64, fd, data, length, offset), put('w', inode, offset, data, result))
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    OURS(fd, syscall(SYS_pwrite64, fd, data, length, offset), put('w', inode, offset, data, result))
}

int ftruncate(int fd, off_t length) {
    OURS(fd, (int)syscall(SYS_ftruncate, fd, length), put('t', inode, length, NULL, 0))
}

int ftruncate64(int fd, off64_t length) {
    OURS(fd, (int)syscall(SYS_ftruncate, fd, length), put('t', inode, length, NULL, 0))
}

int fsync(int fd) {
    char own[4096];
    snprintf(own, sizeof own, "%.*s", (int)folder_length - 1, folder);
    char at[4096], link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = folder_length ? syscall(SYS_readlinkat, AT_FDCWD, link, at, sizeof at - 1) : 0;
    at[length > 0 ? length : 0] = 0;
    if (folder_length && !strcmp(at, own)) {
        pthread_mutex_lock(&lock);
        int result = fails() ? -1 : (int)syscall(SYS_fsync, fd);
        if (!result) put('s', 0, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
        return result;
    }
    OURS(fd, (int)syscall(SYS_fsync, fd), put('s', inode, 0, NULL, 0))
}

int fdatasync(int fd) { return fsync(fd); }

int rename(const char *from, const char *to) {
    const char *name = inside(to);
    if (!name) return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    pthread_mutex_lock(&lock);
    int result = -1;
    struct stat about = {0};
    stat(from, &about);
    if (!fails() && !(result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)))
        put('r', about.st_ino, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    const char *name = inside(path);
    if (!name) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    pthread_mutex_lock(&lock);
    int result = -1;
    long at, number, count;
    if (sscanf(name, "arm-%ld-%ld-%ld", &at, &number, &count) == 3) {
        calls = 0, fail_at = at, fail_errno = number, fail_count = count;
        errno = ENOENT;
    } else if (sscanf(name, "calls-%ld", &number) == 1) {
        result = number <= calls ? 0 : -1;
        errno = ENOENT;
    } else {
        struct stat about = {0};
        stat(path, &about);
        if (!fails() && !(result = syscall(SYS_unlinkat, AT_FDCWD, path, 0))) {
            put('u', 0, 0, name, strlen(name));
            /* Another file may get the same inode. */
            for (size_t i = 0; i < seen_count; i++)
                if (seen[i] == about.st_ino) seen[i] = 0;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

/* Opening is a call that may fail where it is for writing. */
static int open_at(const char *path, int flags, mode_t mode) {
    const char *name = inside(path);
    if (!name || !(flags & (O_WRONLY | O_RDWR))) return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&lock);
    int result = fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_unlock(&lock);
    return result;
}

#define MODE                                  \
    va_list rest;                             \
    va_start(rest, flags);                    \
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; \
    va_end(rest);

int open(const char *path, int flags, ...) {
    MODE
    return open_at(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE
    return open_at(path, flags, mode);
}
