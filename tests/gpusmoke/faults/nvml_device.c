/* The stand-in libnvidia-ml.so.1: what it says about one device. Layouts are those of nvml.h, as nvidia-ml-py spells
 * them. */
#include "nvml_standin.h"

#include <stdio.h>
#include <string.h>

/* ---- texts and structures --------------------------------------------------------------------------------------- */

API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned size)
{
    char value[TEXT_SIZE];
    BEGIN;
    text(index, "name", value);
    return copy(value, name, size);
}

API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned size)
{
    char value[TEXT_SIZE];
    BEGIN;
    text(index, "uuid", value);
    return copy(value, uuid, size);
}

void fill(int index, nvmlPciInfo_t *pci)
{
    char value[TEXT_SIZE];
    text(index, "pci", value);
    memset(pci, 0, sizeof *pci);
    sscanf(value, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", pci->domain & 0xffff, pci->bus & 0xff,
             pci->device & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
}

API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    BEGIN;
    fill(index, pci);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    char value[TEXT_SIZE];
    BEGIN;
    text(index, "capability", value);
    return sscanf(value, "%d.%d", major, minor) == 2 ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

typedef struct {
    u64 total, free, used;
} nvmlMemory_t;

API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    BEGIN;
    memory->total = (u64)number(index, "memory_mib") << 20;
    memory->used = (u64)number(index, "memory_used_mib") << 20;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

/* The versioned structures: their first field says which layout the caller means. */
#define VERSION(type, number) (unsigned)(sizeof(type) | (number) << 24)

typedef struct {
    unsigned version;
    u64 total, reserved, free, used;
} nvmlMemory_v2_t;

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    BEGIN;
    if (memory->version != VERSION(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = (u64)number(index, "memory_mib") << 20;
    memory->used = (u64)number(index, "memory_used_mib") << 20;
    memory->free = memory->total - memory->used;
    memory->reserved = 0;
    return NVML_SUCCESS;
}

typedef struct {
    unsigned version, sensor;
    int temperature;
} nvmlTemperature_t;

API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *temperature)
{
    BEGIN;
    if (temperature->version != VERSION(nvmlTemperature_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    temperature->temperature = (int)number(index, "temperature_c");
    return NVML_SUCCESS;
}

typedef struct {
    unsigned version;
    unsigned char clusterUuid[16];
    nvmlReturn_t status;
    unsigned cliqueId, state, healthMask;
} nvmlGpuFabricInfo_v2_t;

API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v2_t *info)
{
    BEGIN;
    if (info->version != VERSION(nvmlGpuFabricInfo_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *info = (nvmlGpuFabricInfo_v2_t){.version = info->version, .state = (unsigned)number(index, "fabric_state")};
    return NVML_SUCCESS;
}

typedef struct {
    unsigned pid;
    u64 usedGpuMemory;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;

API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *processes)
{
    char value[TEXT_SIZE];
    unsigned room = *count, pid, mib;
    BEGIN;
    text(index, "processes", value);
    *count = 0;
    for (int at = 0, length; sscanf(value + at, " %u:%u%n", &pid, &mib, &length) == 2; at += length) {
        if (*count < room)
            processes[*count] = (nvmlProcessInfo_t){pid, (u64)mib << 20, ~0u, ~0u}; /* ~0: no MIG instance */
        ++*count;
    }
    return *count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

#define ONE(call, type, key) \
    API nvmlReturn_t call(nvmlDevice_t device, type *value) \
    { \
        BEGIN; \
        *value = (type)number(index, key); \
        return NVML_SUCCESS; \
    }

#define TWO(call, first, second) \
    API nvmlReturn_t call(nvmlDevice_t device, unsigned *one, unsigned *two) \
    { \
        BEGIN; \
        *one = (unsigned)number(index, first); \
        *two = (unsigned)number(index, second); \
        return NVML_SUCCESS; \
    }

#define CLOCK(call, processor, memory) \
    API nvmlReturn_t call(nvmlDevice_t device, unsigned domain, unsigned *mhz) \
    { \
        BEGIN; \
        *mhz = (unsigned)number(index, domain == MEMORY_CLOCK ? memory : processor); \
        return NVML_SUCCESS; \
    }

#define MEMORY_CLOCK 2 /* 0, 1 and 3, graphics, SM and video, run together */

ONE(nvmlDeviceGetPowerUsage, unsigned, "power_mw")
ONE(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit_mw")
ONE(nvmlDeviceGetPowerManagementLimit, unsigned, "power_limit_set_mw")
ONE(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power_limit_default_mw")
ONE(nvmlDeviceGetTotalEnergyConsumption, u64, "energy_mj")
ONE(nvmlDeviceGetCurrentClocksEventReasons, u64, "clock_reasons")
ONE(nvmlDeviceGetCurrentClocksThrottleReasons, u64, "clock_reasons")
ONE(nvmlDeviceGetPerformanceState, unsigned, "performance_state")
ONE(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie_width")
ONE(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "pcie_width_max")
ONE(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "pcie_generation")
ONE(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "pcie_generation_max")
ONE(nvmlDeviceGetRetiredPagesPendingStatus, unsigned, "retired_pending")
ONE(nvmlDeviceGetComputeMode, unsigned, "compute_mode")
ONE(nvmlDeviceGetPersistenceMode, unsigned, "persistence_mode")
TWO(nvmlDeviceGetEccMode, "ecc_mode", "ecc_mode_pending")
TWO(nvmlDeviceGetMigMode, "mig_mode", "mig_mode_pending")
CLOCK(nvmlDeviceGetClockInfo, "sm_clock_mhz", "memory_clock_mhz")
CLOCK(nvmlDeviceGetMaxClockInfo, "sm_clock_max_mhz", "memory_clock_max_mhz")

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned sensor, unsigned *temperature)
{
    (void)sensor; /* there is one */
    BEGIN;
    *temperature = (unsigned)number(index, "temperature_c");
    return NVML_SUCCESS;
}

/* pynvml's nvmlUtilization_t holds the two as its only fields. */
API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, unsigned rates[2])
{
    BEGIN;
    rates[0] = (unsigned)number(index, "utilization");
    rates[1] = (unsigned)number(index, "memory_utilization");
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned uncorrected, unsigned aggregate, u64 *count)
{
    static const char *const KEYS[2][2] = {{"ecc_corrected", "ecc_corrected_aggregate"},
                                           {"ecc_uncorrected", "ecc_uncorrected_aggregate"}};
    BEGIN;
    *count = (u64)number(index, KEYS[!!uncorrected][!!aggregate]);
    return NVML_SUCCESS;
}

#define MOST_MIG_DEVICES 7

API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count)
{
    BEGIN;
    *count = MOST_MIG_DEVICES;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned at, nvmlDevice_t *found)
{
    BEGIN;
    if (at >= MOST_MIG_DEVICES)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (at >= (unsigned)number(index, "mig_devices"))
        return NVML_ERROR_NOT_FOUND;
    *found = device;
    return NVML_SUCCESS;
}

#define NVML_FI_DEV_GET_GPU_RECOVERY_ACTION 230
#define NVML_VALUE_TYPE_UNSIGNED_INT 1

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type;
    nvmlReturn_t code;
    union {
        double d;
        unsigned ui;
        u64 ull;
    } value;
} nvmlFieldValue_t;

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values)
{
    BEGIN;
    for (int i = 0; i < count; i++) {
        int known = values[i].field == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
        values[i].code = known ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        values[i].type = NVML_VALUE_TYPE_UNSIGNED_INT;
        values[i].value.ui = known ? (unsigned)number(index, "recovery_action") : 0;
    }
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected,
                                           unsigned *pending, unsigned *failure)
{
    BEGIN;
    *corrected = (unsigned)number(index, "remapped_corrected");
    *uncorrected = (unsigned)number(index, "remapped_uncorrected");
    *pending = (unsigned)number(index, "remapped_pending");
    *failure = (unsigned)number(index, "remapped_failure");
    return NVML_SUCCESS;
}
