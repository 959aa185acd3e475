/* What the parts of the stand-in libnvidia-ml.so.1 share. Numbers are those of nvml.h. */
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

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

/* A device's place on the PCI bus. */
void fill(int index, nvmlPciInfo_t *pci);

nvmlReturn_t copy(const char *value, char *out, unsigned size);

#define BEGIN \
    int index; \
    nvmlReturn_t code = begin(__func__, device, &index); \
    if (code) \
        return code

#endif
