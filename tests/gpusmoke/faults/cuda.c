/* The stand-in libcuda.so.1; what it answers is told by the state file (standin.h). Numbers are those of cuda.h. */
#include "standin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef int CUresult, CUdevice;
typedef struct {
    unsigned char bytes[16];
} CUuuid;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
};

/* As driver 580.159.04 gives them, asked on an H100 on 2026-11-24. */
static const struct {
    CUresult code;
    const char *name, *text;
} ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {102, "CUDA_ERROR_DEVICE_NOT_LICENSED", "device doesn't have valid Grid license"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
    {304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {805, "CUDA_ERROR_MPS_CONNECTION_FAILED", "MPS client failed to connect to the MPS control daemon or the MPS server"},
    {806, "CUDA_ERROR_MPS_RPC_FAILURE", "the remote procedural call between the MPS server and the MPS client failed"},
    {807, "CUDA_ERROR_MPS_SERVER_NOT_READY", "MPS server is not ready to accept new MPS client requests"},
    {808, "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED", "the hardware resources required to create MPS client have been exhausted"},
    {809, "CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED",
     "the hardware resources required to support device connections have been exhausted"},
    {810, "CUDA_ERROR_MPS_CLIENT_TERMINATED", "the MPS client has been terminated by the server"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
#define ERROR_COUNT (int)(sizeof ERRORS / sizeof *ERRORS)

#define UUID_PREFIX "GPU-"

static int initialised;
static int visible[MAX_DEVICES], visible_count; /* CUDA's ordinal -> NVML's index */

/* The device whose UUID begins with an entry of CUDA_VISIBLE_DEVICES, or NO_DEVICE. */
static int by_uuid(const char *entry, size_t length)
{
    int match = NO_DEVICE;
    if (length <= strlen(UUID_PREFIX))
        return NO_DEVICE; /* "GPU-" alone names none, not even an only one */
    for (int device = 0; device < number(NO_DEVICE, "devices"); device++) {
        char uuid[TEXT_SIZE];
        text(device, "uuid", uuid);
        if (strncasecmp(uuid, entry, length) == 0) {
            if (match != NO_DEVICE)
                return NO_DEVICE; /* the first characters of two */
            match = device;
        }
    }
    return match;
}

static int by_ordinal(const char *entry)
{
    char *end;
    long ordinal = strtol(entry, &end, 10); /* "0abc" is 0 to the driver, too */
    return end != entry && ordinal >= 0 && ordinal < number(NO_DEVICE, "devices") ? (int)ordinal : NO_DEVICE;
}

/* Up to the first entry that names no device; naming one twice is an error. So driver 580.159.04 did with one H100 on
 * 2026-11-24. What one GPU can't tell: that "0,UUID" and "UUID,0" end before the other kind is as PyTorch has it
 * (torch.cuda._parse_visible_devices), and that the first characters of two UUIDs name neither as CUDA documents it. */
static CUresult read_visible_devices(void)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    visible_count = 0;
    if (!list) {
        for (; visible_count < number(NO_DEVICE, "devices"); visible_count++)
            visible[visible_count] = visible_count;
        return visible_count ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
    }
    int uuids = strncmp(list, UUID_PREFIX, strlen(UUID_PREFIX)) == 0;
    for (;;) {
        size_t length = strcspn(list, ",");
        int device = uuids ? by_uuid(list, length) : by_ordinal(list);
        if (device == NO_DEVICE)
            break;
        for (int i = 0; i < visible_count; i++)
            if (visible[i] == device)
                return CUDA_ERROR_INVALID_DEVICE;
        visible[visible_count++] = device;
        if (list[length] == '\0')
            break;
        list += length + 1;
    }
    return visible_count ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

/* What every call about a device begins with: its code, or 0 and the device's index. */
static CUresult begin(const char *call, int ordinal, int *index)
{
    int known = initialised && ordinal >= 0 && ordinal < visible_count;
    *index = known ? visible[ordinal] : NO_DEVICE;
    CUresult code = enter(call, *index);
    if (code)
        return code;
    if (!initialised)
        return CUDA_ERROR_NOT_INITIALIZED;
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

#define BEGIN(ordinal) \
    int index; \
    CUresult code = begin(__func__, ordinal, &index); \
    if (code) \
        return code

API CUresult cuInit(unsigned flags)
{
    CUresult code = enter(__func__, NO_DEVICE);
    if (code)
        return code;
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    code = read_visible_devices();
    initialised = !code;
    return code;
}

API CUresult cuDriverGetVersion(int *version)
{
    CUresult code = enter(__func__, NO_DEVICE);
    if (!code)
        *version = (int)number(NO_DEVICE, "cuDriverGetVersion.value");
    return code;
}

static CUresult explain(const char *call, CUresult error, int with_name, const char **answer)
{
    CUresult code = enter(call, NO_DEVICE);
    *answer = NULL;
    if (code)
        return code;
    for (int i = 0; i < ERROR_COUNT; i++)
        if (ERRORS[i].code == error) {
            *answer = with_name ? ERRORS[i].name : ERRORS[i].text;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}

API CUresult cuGetErrorName(CUresult error, const char **name)
{
    return explain(__func__, error, 1, name);
}

API CUresult cuGetErrorString(CUresult error, const char **string)
{
    return explain(__func__, error, 0, string);
}

API CUresult cuDeviceGetCount(int *count)
{
    CUresult code = enter(__func__, NO_DEVICE);
    if (code)
        return code;
    if (!initialised)
        return CUDA_ERROR_NOT_INITIALIZED;
    *count = visible_count;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    BEGIN(ordinal);
    *device = ordinal;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetName(char *name, int size, CUdevice device)
{
    char value[TEXT_SIZE];
    BEGIN(device);
    text(index, "name", value);
    snprintf(name, (size_t)size, "%s", value);
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
    char capability[TEXT_SIZE];
    int major = 0, minor = 0;
    BEGIN(device);
    text(index, "capability", capability);
    sscanf(capability, "%d.%d", &major, &minor);
    *value = attribute == 16   ? (int)number(index, "multiprocessors")
             : attribute == 75 ? major
             : attribute == 76 ? minor
                               : 0;
    return CUDA_SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    BEGIN(device);
    *bytes = (size_t)number(index, "memory_mib") << 20;
    return CUDA_SUCCESS;
}

static CUresult uuid_of(const char *call, CUuuid *uuid, CUdevice device)
{
    char value[TEXT_SIZE];
    int index;
    CUresult code = begin(call, device, &index);
    if (code)
        return code;
    text(index, "uuid", value);
    const char *digits = value + strcspn(value, "-");
    for (int i = 0; i < 16; i++) {
        digits += *digits == '-';
        if (strlen(digits) < 2 || sscanf(digits, "%2hhx", &uuid->bytes[i]) != 1)
            return CUDA_ERROR_INVALID_VALUE;
        digits += 2;
    }
    return CUDA_SUCCESS;
}

API CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    return uuid_of(__func__, uuid, device);
}

API CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    return uuid_of(__func__, uuid, device);
}

API CUresult cuDeviceGetPCIBusId(char *address, int size, CUdevice device)
{
    char value[TEXT_SIZE];
    BEGIN(device);
    text(index, "pci", value);
    snprintf(address, (size_t)size, "%s", value);
    return CUDA_SUCCESS;
}
