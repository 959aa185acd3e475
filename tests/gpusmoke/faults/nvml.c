/* The stand-in libnvidia-ml.so.1: the library, the machine, and finding a device. What it answers is told by the state
 * file (standin.h). */
#include "nvml_standin.h"

#include <string.h>
#include <strings.h>
#include <time.h>

/* As driver 580.159.04 gives them, asked on an H100 on 2026-11-24. */
static const char *const TEXTS[] = {
    "Success",
    "Uninitialized",
    "Invalid Argument",
    "Not Supported",
    "Insufficient Permissions",
    "Already Initialized",
    "Not Found",
    "Insufficient Size",
    "Insufficient External Power",
    "Driver Not Loaded",
    "Timeout",
    "Interrupt Request Issue",
    "NVML Shared Library Not Found",
    "Function Not Found",
    "Corrupted infoROM",
    "GPU is lost",
    "GPU requires reset",
    "GPU access blocked by the operating system",
    "Driver/library version mismatch",
    "In use by another client",
    "Insufficient Memory",
    "No data",
    "vGPU ECC not supported",
    "Insufficient Resources",
    "Invalid Frequency",
    "Argument version mismatch",
    "Requested functionality has been deprecated",
    "System is not in ready state",
    "No supported GPUs were found",
    "Resource not in correct state to perform requested operation",
    "Reset type is not supported for given device",
};

static const char devices[MAX_DEVICES]; /* their addresses are the handles */
static int initialised;

static nvmlReturn_t begin_machine(const char *call)
{
    nvmlReturn_t code = enter(call, NO_DEVICE);
    return code ? code : initialised ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED;
}

nvmlReturn_t begin(const char *call, nvmlDevice_t device, int *index)
{
    long long offset = device ? device - devices : NO_DEVICE;
    int known = offset >= 0 && offset < number(NO_DEVICE, "devices");
    *index = known ? (int)offset : NO_DEVICE;
    nvmlReturn_t code = enter(call, *index);
    if (code)
        return code;
    if (!initialised)
        return NVML_ERROR_UNINITIALIZED;
    return known ? NVML_SUCCESS : device ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_FOUND;
}

#define BEGIN_MACHINE \
    nvmlReturn_t code = begin_machine(__func__); \
    if (code) \
        return code

nvmlReturn_t copy(const char *value, char *out, unsigned size)
{
    if (strlen(value) >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, value);
    return NVML_SUCCESS;
}

/* ---- the library and the machine -------------------------------------------------------------------------------- */

API nvmlReturn_t nvmlInit_v2(void)
{
    nvmlReturn_t code = enter(__func__, NO_DEVICE);
    initialised += !code;
    return code;
}

API nvmlReturn_t nvmlInit(void)
{
    return nvmlInit_v2();
}

API nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    return nvmlInit_v2();
}

API nvmlReturn_t nvmlShutdown(void)
{
    BEGIN_MACHINE;
    initialised--;
    return NVML_SUCCESS;
}

API const char *nvmlErrorString(nvmlReturn_t code)
{
    return code >= 0 && code < (int)(sizeof TEXTS / sizeof *TEXTS) ? TEXTS[code] : "Unknown Error";
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned size)
{
    char value[TEXT_SIZE];
    BEGIN_MACHINE;
    text(NO_DEVICE, "nvmlSystemGetDriverVersion.value", value);
    return copy(value, version, size);
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned size)
{
    char value[TEXT_SIZE];
    BEGIN_MACHINE;
    text(NO_DEVICE, "nvmlSystemGetNVMLVersion.value", value);
    return copy(value, version, size);
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    BEGIN_MACHINE;
    *version = (int)number(NO_DEVICE, "nvmlSystemGetCudaDriverVersion.value");
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    BEGIN_MACHINE;
    *version = (int)number(NO_DEVICE, "nvmlSystemGetCudaDriverVersion.value");
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    BEGIN_MACHINE;
    *count = (unsigned)number(NO_DEVICE, "devices");
    return NVML_SUCCESS;
}

/* ---- finding a device: the code of one device answers for it alone ---------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned wanted, nvmlDevice_t *found)
{
    nvmlDevice_t device = devices + (wanted < MAX_DEVICES ? wanted : MAX_DEVICES);
    BEGIN;
    *found = devices + index;
    return NVML_SUCCESS;
}

static nvmlReturn_t find_by(const char *call, const char *key, const char *wanted, nvmlDevice_t *found)
{
    int index;
    nvmlDevice_t device = NULL;
    for (int i = 0; wanted && i < number(NO_DEVICE, "devices"); i++) {
        char value[TEXT_SIZE];
        text(i, key, value);
        if (strcasecmp(value, wanted) == 0)
            device = devices + i;
    }
    nvmlReturn_t code = begin(call, device, &index);
    if (!code)
        *found = device;
    return code;
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *found)
{
    return find_by(__func__, "uuid", uuid, found);
}

API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvmlDevice_t *found)
{
    /* NVML's own form has four digits more in front than CUDA's and the kernel's. */
    return find_by(__func__, "pci", address && strlen(address) == 16 ? address + 4 : address, found);
}

/* ---- events: of those that NVML knows, the driver's word of an error (Xid) alone -------------------------------- */

#define EVENT_XID 0x8

typedef struct {
    nvmlDevice_t device;
    u64 type, data;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;

static long long told[MAX_DEVICES]; /* the Xid that was handed out last; -1: nobody asked for this device's */
static const char events;

API nvmlReturn_t nvmlEventSetCreate(const char **set)
{
    BEGIN_MACHINE;
    for (int i = 0; i < MAX_DEVICES; i++)
        told[i] = -1;
    *set = &events;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, u64 *types)
{
    BEGIN;
    *types = EVENT_XID;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, u64 types, const char *set)
{
    BEGIN;
    if (set != &events || types != EVENT_XID)
        return NVML_ERROR_INVALID_ARGUMENT;
    told[index] = number(index, "xid"); /* what happened before is not told */
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlEventSetWait_v2(const char *set, nvmlEventData_t *data, unsigned timeout_ms)
{
    BEGIN_MACHINE;
    if (set != &events)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < number(NO_DEVICE, "devices"); i++)
        if (told[i] != -1 && number(i, "xid") != told[i]) {
            told[i] = number(i, "xid");
            *data = (nvmlEventData_t){devices + i, EVENT_XID, (u64)told[i], ~0u, ~0u};
            return NVML_SUCCESS;
        }
    nanosleep(&(struct timespec){timeout_ms / 1000, timeout_ms % 1000 * 1000000L}, NULL);
    return NVML_ERROR_TIMEOUT;
}
