/* Preloaded into a process, writes down what it does to the files of one folder, so that a power cut can be played
 * afterwards at any point of it (see cluster/src/store/torture).
 *
 *   JOURNAL_ROOT   the folder
 *   JOURNAL_FILE   where the journal goes
 *   JOURNAL_ACKS   writes to this file are acknowledgements
 *   JOURNAL_FAIL   if set, the sync of this number fails, and those after it do not: as a kernel reports a failure once
 *   JOURNAL_NOSYNC if set, syncs are carried out and not written down: a store that never syncs
 *
 * A record is a head, then a name (or none), then a second name or data; numbers are little-endian:
 *   | kind: u8 | inode: u64 | offset: u64 | first: u32 | second: u32 | first bytes | second bytes |
 *
 * One lock is held over the operation and its record, so that the journal's order is the true one. sync_file_range is
 * not among the kinds: it promises nothing after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 'c', WRITE = 'w', TRUNCATE = 't', SYNC = 's', RENAME = 'r', UNLINK = 'u', MKDIR = 'm', ACK = 'a' };

#define FDS 65536
static char of_root[FDS], of_acks[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const char *root, *acks;
static size_t root_length;
static int nosync;
static uint64_t failing;

#define REAL(type, name, ...)                                                                                          \
  static type (*real)(__VA_ARGS__);                                                                                    \
  if (!real) real = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void start(void) {
  root = getenv("JOURNAL_ROOT");
  acks = getenv("JOURNAL_ACKS");
  nosync = getenv("JOURNAL_NOSYNC") != NULL;
  const char *file = getenv("JOURNAL_FILE"), *fail = getenv("JOURNAL_FAIL");
  failing = fail ? strtoull(fail, NULL, 10) : 0;
  if (!root || !acks || !file) {
    root = NULL;
    return;
  }
  root_length = strlen(root);
  REAL(int, "open", const char *, int, ...);
  journal = real(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (journal < 0) abort();
}

static void put(const void *bytes, size_t length) {
  REAL(ssize_t, "write", int, const void *, size_t);
  while (length > 0) {
    ssize_t written = real(journal, bytes, length);
    if (written < 0) {
      if (errno == EINTR) continue;
      abort();
    }
    bytes = (const char *)bytes + written;
    length -= written;
  }
}

/* The record is put together first: it must reach the journal whole or not at all, should the process be killed. */
static void note(char kind, uint64_t inode, uint64_t offset, const void *one, uint32_t first, const void *two,
                 uint32_t second) {
  static char *buffer;
  static size_t space;
  size_t length = 25 + (size_t)first + second;
  if (length > space) {
    space = length * 2;
    buffer = realloc(buffer, space);
    if (!buffer) abort();
  }
  char *at = buffer;
  *at++ = kind;
  memcpy(at, &inode, 8);
  memcpy(at + 8, &offset, 8);
  memcpy(at + 16, &first, 4);
  memcpy(at + 20, &second, 4);
  memcpy(at + 24, one, first);
  memcpy(at + 24 + first, two, second);
  put(buffer, length);
}

static int below(const char *path) {
  return root && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == 0);
}

/* The path that a folder's descriptor and a name stand for; empty if it can't be told. */
static void resolve(int folder, const char *name, char *out) {
  if (name[0] == '/') {
    snprintf(out, PATH_MAX, "%s", name);
    return;
  }
  char link[64], base[PATH_MAX / 2];
  ssize_t length;
  if (folder == AT_FDCWD) {
    if (!getcwd(base, sizeof base)) base[0] = 0;
  } else {
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    length = readlink(link, base, sizeof base - 1);
    base[length < 0 ? 0 : length] = 0;
  }
  snprintf(out, PATH_MAX, "%s/%.2000s", base, name);
}

static const char *inside(const char *path) { return path[root_length] ? path + root_length + 1 : path + root_length; }

static uint64_t inode_of(int fd) {
  struct stat stat;
  return fstat(fd, &stat) == 0 ? stat.st_ino : 0;
}

static void forget(int fd) {
  if (fd >= 0 && fd < FDS) of_root[fd] = of_acks[fd] = 0;
}

static int is(const char *table, int fd) { return fd >= 0 && fd < FDS && table[fd]; }

static int opened(int (*real)(int, const char *, int, ...), int folder, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  if (!root) return real(folder, name, flags, mode);
  resolve(folder, name, path);
  int ours = below(path);
  pthread_mutex_lock(&lock);
  struct stat before;
  int existed = ours && stat(path, &before) == 0;
  int fd = real(folder, name, flags, mode);
  int error = errno;
  forget(fd);
  if (fd >= 0 && fd < FDS) {
    of_acks[fd] = strcmp(path, acks) == 0;
    of_root[fd] = ours;
    if (ours && !existed) note(CREATE, inode_of(fd), 0, inside(path), strlen(inside(path)), "", 0);
    if (ours && existed && (flags & O_TRUNC)) note(TRUNCATE, inode_of(fd), 0, "", 0, "", 0);
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define MODE                                                                                                           \
  mode_t mode = 0;                                                                                                     \
  if (flags & (O_CREAT | O_TMPFILE)) {                                                                                 \
    va_list list;                                                                                                      \
    va_start(list, flags);                                                                                             \
    mode = va_arg(list, mode_t);                                                                                       \
    va_end(list);                                                                                                      \
  }

int open(const char *path, int flags, ...) {
  MODE;
  REAL(int, "openat", int, const char *, int, ...);
  return opened(real, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE;
  REAL(int, "openat64", int, const char *, int, ...);
  return opened(real, AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE;
  REAL(int, "openat", int, const char *, int, ...);
  return opened(real, folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE;
  REAL(int, "openat64", int, const char *, int, ...);
  return opened(real, folder, path, flags, mode);
}

int close(int fd) {
  REAL(int, "close", int);
  pthread_mutex_lock(&lock);
  forget(fd);
  int result = real(fd);
  pthread_mutex_unlock(&lock);
  return result;
}

static int duplicated(int from, int to) {
  if (to >= 0 && to < FDS && from >= 0 && from < FDS) {
    of_root[to] = of_root[from];
    of_acks[to] = of_acks[from];
  }
  return to;
}
int dup(int fd) {
  REAL(int, "dup", int);
  return duplicated(fd, real(fd));
}
int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  REAL(int, "fcntl64", int, int, ...);
  int result = real(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;
}
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  REAL(int, "fcntl", int, int, ...);
  int result = real(fd, command, argument);
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, result) : result;
}

/* `offset` < 0 stands for the descriptor's own position. */
static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  static ssize_t (*at)(int, const struct iovec *, int, off_t);
  if (!at) at = dlsym(RTLD_NEXT, "pwritev");
  if (!is(of_root, fd) && !is(of_acks, fd)) return offset < 0 ? real(fd, parts, count) : at(fd, parts, count, offset);
  pthread_mutex_lock(&lock);
  off_t from = offset;
  if (offset < 0) {
    struct stat stat;
    from = fcntl(fd, F_GETFL) & O_APPEND ? (fstat(fd, &stat), stat.st_size) : lseek(fd, 0, SEEK_CUR);
  }
  ssize_t result = offset < 0 ? real(fd, parts, count) : at(fd, parts, count, offset);
  int error = errno;
  size_t left = result > 0 ? result : 0;
  for (int part = 0; part < count && left > 0; part++) {
    size_t length = parts[part].iov_len < left ? parts[part].iov_len : left;
    if (length > 0)
      note(is(of_acks, fd) ? ACK : WRITE, inode_of(fd), from, "", 0, parts[part].iov_base, length);
    from += length;
    left -= length;
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
  struct iovec part = {(void *)bytes, length};
  return written(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return written(fd, parts, count, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
  struct iovec part = {(void *)bytes, length};
  return written(fd, &part, 1, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  struct iovec part = {(void *)bytes, length};
  return written(fd, &part, 1, offset);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return written(fd, parts, count, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  return written(fd, parts, count, offset);
}

static int resized(int (*real)(int, off_t), int fd, off_t length) {
  pthread_mutex_lock(&lock);
  int result = real(fd, length);
  if (result == 0 && is(of_root, fd)) note(TRUNCATE, inode_of(fd), length, "", 0, "", 0);
  pthread_mutex_unlock(&lock);
  return result;
}
int ftruncate(int fd, off_t length) {
  REAL(int, "ftruncate", int, off_t);
  return resized(real, fd, length);
}
int ftruncate64(int fd, off64_t length) {
  REAL(int, "ftruncate64", int, off_t);
  return resized(real, fd, length);
}

/* Space that is only set aside holds zeroes; the length is all that is noted of it. */
static int allocated(int (*real)(int, int, off_t, off_t), int fd, int mode, off_t offset, off_t length) {
  pthread_mutex_lock(&lock);
  int result = real(fd, mode, offset, length);
  if (result == 0 && is(of_root, fd) && mode == 0) {
    struct stat stat;
    fstat(fd, &stat);
    note(TRUNCATE, stat.st_ino, stat.st_size, "", 0, "", 0);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
  REAL(int, "fallocate", int, int, off_t, off_t);
  return allocated(real, fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  REAL(int, "fallocate64", int, int, off_t, off_t);
  return allocated(real, fd, mode, offset, length);
}

static int synced(int (*real)(int), int fd) {
  if (!is(of_root, fd)) return real(fd);
  /* Not under the lock: others write meanwhile. What counts is what was written before the sync began. */
  pthread_mutex_lock(&lock);
  uint64_t inode = inode_of(fd);
  static uint64_t number;
  uint64_t began = ++number;
  if (!nosync) note(SYNC, inode, began, "b", 1, "", 0);
  pthread_mutex_unlock(&lock);
  int result = began == failing ? -1 : real(fd);
  int error = began == failing ? EIO : errno;
  pthread_mutex_lock(&lock);
  if (result == 0 && !nosync) note(SYNC, inode, began, "e", 1, "", 0);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int fsync(int fd) {
  REAL(int, "fsync", int);
  return synced(real, fd);
}
int fdatasync(int fd) {
  REAL(int, "fdatasync", int);
  return synced(real, fd);
}

static int renamed(int result, const char *from, const char *to) {
  if (result == 0 && below(from) && below(to))
    note(RENAME, 0, 0, inside(from), strlen(inside(from)), inside(to), strlen(inside(to)));
  return result;
}
int rename(const char *from, const char *to) {
  REAL(int, "rename", const char *, const char *);
  char one[PATH_MAX], two[PATH_MAX];
  if (!root) return real(from, to);
  resolve(AT_FDCWD, from, one);
  resolve(AT_FDCWD, to, two);
  pthread_mutex_lock(&lock);
  int result = renamed(real(from, to), one, two);
  pthread_mutex_unlock(&lock);
  return result;
}

static int gone(int result, const char *path) {
  if (result == 0 && below(path)) note(UNLINK, 0, 0, inside(path), strlen(inside(path)), "", 0);
  return result;
}
int unlink(const char *name) {
  REAL(int, "unlink", const char *);
  char path[PATH_MAX];
  if (!root) return real(name);
  resolve(AT_FDCWD, name, path);
  pthread_mutex_lock(&lock);
  int result = gone(real(name), path);
  pthread_mutex_unlock(&lock);
  return result;
}
int rmdir(const char *name) {
  REAL(int, "rmdir", const char *);
  char path[PATH_MAX];
  if (!root) return real(name);
  resolve(AT_FDCWD, name, path);
  pthread_mutex_lock(&lock);
  int result = gone(real(name), path);
  pthread_mutex_unlock(&lock);
  return result;
}
int unlinkat(int folder, const char *name, int flags) {
  REAL(int, "unlinkat", int, const char *, int);
  char path[PATH_MAX];
  if (!root) return real(folder, name, flags);
  resolve(folder, name, path);
  pthread_mutex_lock(&lock);
  int result = gone(real(folder, name, flags), path);
  pthread_mutex_unlock(&lock);
  return result;
}
int mkdir(const char *name, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  char path[PATH_MAX];
  if (!root) return real(name, mode);
  resolve(AT_FDCWD, name, path);
  pthread_mutex_lock(&lock);
  int result = real(name, mode);
  struct stat made;
  if (result == 0 && below(path) && stat(path, &made) == 0)
    note(MKDIR, made.st_ino, 0, inside(path), strlen(inside(path)), "", 0);
  pthread_mutex_unlock(&lock);
  return result;
}
