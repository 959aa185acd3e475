/* Preloaded, refuses to open the files whose path ends like GPUSMOKE_REFUSE, whatever their mode says: as a control
   group does with the device files of GPUs that a job was not granted or, where GPUSMOKE_REFUSE_WITH is EIO's number, the
   driver with those of GPUs that it can't start. */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static int refused(const char *path)
{
    const char *end = getenv("GPUSMOKE_REFUSE");
    size_t length = end ? strlen(end) : 0;
    return length && strlen(path) >= length && strcmp(path + strlen(path) - length, end) == 0;
}

static int how(void)
{
    const char *number = getenv("GPUSMOKE_REFUSE_WITH");
    return number ? atoi(number) : EPERM;
}

/* Python calls one or the other, depending on how it was built. */
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        int mode = va_arg(rest, int);                                                                                  \
        va_end(rest);                                                                                                  \
        if (refused(path)) {                                                                                           \
            errno = how();                                                                                             \
            return -1;                                                                                                 \
        }                                                                                                              \
        int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);                \
        return real(path, flags, mode);                                                                                \
    }

OPEN(open)
OPEN(open64)
