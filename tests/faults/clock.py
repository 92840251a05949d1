"""A clock that can be wrong: a library of our own, loaded before libc's, adds an offset to the time of day."""

import ctypes.util
import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

_OFFSET = struct.Struct("<q")

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const int64_t *offset_seconds;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void find(void) {
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("FAULTS_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) offset_seconds = page;
}

int clock_gettime(clockid_t clock, struct timespec *result) {
    if (!real_clock_gettime) find();
    int code = real_clock_gettime(clock, result);
    if (code == 0 && offset_seconds && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        result->tv_sec += *offset_seconds;
    return code;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """The wall clock of the processes that are started with its environment; others do not notice."""

    def __init__(self, folder: Path, library: Path) -> None:
        """`folder` must be one that these processes can read."""
        self._file = folder / "clock.offset"
        self._library = library
        self.step(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to go by this clock."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK_FILE": str(self._file)}

    def step(self, seconds: int) -> None:
        """Be so many seconds ahead of the machine from now on (behind, if negative)."""
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            os.pwrite(descriptor, _OFFSET.pack(seconds), 0)  # in place: it is mapped
        finally:
            os.close(descriptor)


def build_library(folder: Path) -> Path | None:
    """Compile the library into `folder`; None where there is no C compiler, or no glibc to slip under."""
    compiler = shutil.which("cc")
    if compiler is None or ctypes.util.find_library("c") != "libc.so.6":
        return None
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_SOURCE, encoding="ascii")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    built = subprocess.run(command, capture_output=True, check=False)
    if built.returncode:
        return None
    library.chmod(0o755)
    return library
