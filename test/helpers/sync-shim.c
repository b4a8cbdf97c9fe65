/*
 * Preloaded into a process that stores things (LD_PRELOAD, see sync-shim.ts): makes its fsync and
 * fdatasync as slow as it is told, counts them, and writes down how far each file is on disk.
 *
 *   OPENIM_SYNC_CONTROL   file of 16 bytes: u32 delay in microseconds, u32 unused, u64 syncs so far
 *   OPENIM_SYNC_RECORD    file that gets a line for each sync: INODE BIRTH_NANOSECONDS BYTES
 *
 * A line is there before the caller hears that the sync is done, and its length was read before
 * the sync began: what is written meanwhile may not be on disk.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct control {
  volatile uint32_t delay_us;
  uint32_t unused;
  volatile uint64_t syncs;
};

static struct control *control;
static int record = -1;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("OPENIM_SYNC_CONTROL");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file >= 0) {
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) control = shared;
    close(file);
  }
  path = getenv("OPENIM_SYNC_RECORD");
  if (path) record = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int slowly(const char *name, int fd) {
  int (*sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  struct statx state;
  int known = record >= 0
    && statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_SIZE | STATX_BTIME, &state) == 0;
  uint32_t us = control ? control->delay_us : 0;
  if (us > 0) {
    struct timespec wait = { us / 1000000, (long)(us % 1000000) * 1000 };
    while (nanosleep(&wait, &wait) != 0);
  }
  int result = sync(fd);
  if (control) __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
  if (known && result == 0) {
    char line[96];
    long long birth = (long long)state.stx_btime.tv_sec * 1000000000LL + state.stx_btime.tv_nsec;
    int length = snprintf(line, sizeof line, "%llu %lld %llu\n",
      (unsigned long long)state.stx_ino, birth, (unsigned long long)state.stx_size);
    if (write(record, line, (size_t)length) != length) abort();
  }
  return result;
}

int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
