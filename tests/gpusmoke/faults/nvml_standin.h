/* What the two halves of the stand-in libnvidia-ml.so.1 share. Numbers are those of nvml.h. */
#ifndef NVML_STANDIN_H
#define NVML_STANDIN_H

#include "standin.h"

typedef int nvmlReturn_t;
typedef const char *nvmlDevice_t;
typedef unsigned long long u64;

enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
};

/* What every call about a device begins with: its code, or 0 and the device's index. */
nvmlReturn_t begin(const char *call, nvmlDevice_t device, int *index);

nvmlReturn_t copy(const char *value, char *out, unsigned size);

#define BEGIN \
    int index; \
    nvmlReturn_t code = begin(__func__, device, &index); \
    if (code) \
        return code

#endif
