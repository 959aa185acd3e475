/* A stand-in for NVIDIA's driver libraries: libcuda.so.1 (cuda.c) and libnvidia-ml.so.1 (nvml.c).
 *
 * Tests run the real program against them. A state file, named by GPUSMOKE_STANDIN, says what each call answers: codes,
 * texts, numbers and delays, as a driver gives them, never what the program should make of them. Without the variable
 * the machine is healthy: one H100. Lines are `key = value`, or start with # :
 *
 *     cuInit = 802                        the code that a call returns (MACHINE_CALLS and DEVICE_CALLS below)
 *     cuInit.delay_ms = 500               it waits first
 *     cuInit.crash = 1                    it ends in a segmentation fault
 *     devices = 2                         a value (all of them, with their defaults: state.c)
 *     name = Tesla T4                     for every device
 *     device.1.name = Tesla T4            for one device, in NVML's order, whatever CUDA_VISIBLE_DEVICES says
 *     device.1.nvmlDeviceGetName = 15     likewise
 *     @1500 ecc_uncorrected = 3           any of these, from 1500 ms after the library was loaded on
 *
 * A # in a value stands for the number of the device, as one hexadecimal digit.
 * An unknown key, a device that is not there, a key given twice or a number that is none aborts the process: a typo
 * must not pass as health.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <stddef.h>

#define API __attribute__((visibility("default")))
#define MAX_DEVICES 16
#define TEXT_SIZE 160
#define NO_DEVICE (-1)

/* nvmlInit_v2 also answers for nvmlInit and nvmlInitWithFlags, which pynvml calls. */
#define MACHINE_CALLS(X) \
    X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount) \
    X(nvmlInit_v2) X(nvmlShutdown) X(nvmlSystemGetDriverVersion) X(nvmlSystemGetNVMLVersion) \
    X(nvmlSystemGetCudaDriverVersion) X(nvmlSystemGetCudaDriverVersion_v2) X(nvmlDeviceGetCount_v2) \
    X(nvmlEventSetCreate) X(nvmlEventSetWait_v2) X(cuLibraryLoadData) X(cuLibraryGetKernel) X(cuLaunchKernelEx)

#define DEVICE_CALLS(X) \
    X(cuDeviceGet) X(cuDeviceGetName) X(cuDeviceGetAttribute) X(cuDeviceTotalMem_v2) X(cuDeviceGetUuid) \
    X(cuDeviceGetUuid_v2) X(cuDeviceGetPCIBusId) \
    X(nvmlDeviceGetHandleByIndex_v2) X(nvmlDeviceGetHandleByUUID) X(nvmlDeviceGetHandleByPciBusId_v2) \
    X(nvmlDeviceGetName) X(nvmlDeviceGetUUID) X(nvmlDeviceGetPciInfo_v3) X(nvmlDeviceGetMemoryInfo) \
    X(nvmlDeviceGetMemoryInfo_v2) X(nvmlDeviceGetCudaComputeCapability) X(nvmlDeviceGetPowerUsage) \
    X(nvmlDeviceGetEnforcedPowerLimit) X(nvmlDeviceGetPowerManagementLimit) \
    X(nvmlDeviceGetPowerManagementDefaultLimit) X(nvmlDeviceGetTotalEnergyConsumption) X(nvmlDeviceGetTemperature) \
    X(nvmlDeviceGetTemperatureV) X(nvmlDeviceGetClockInfo) X(nvmlDeviceGetMaxClockInfo) \
    X(nvmlDeviceGetCurrentClocksEventReasons) X(nvmlDeviceGetCurrentClocksThrottleReasons) \
    X(nvmlDeviceGetPerformanceState) X(nvmlDeviceGetCurrPcieLinkWidth) X(nvmlDeviceGetMaxPcieLinkWidth) \
    X(nvmlDeviceGetCurrPcieLinkGeneration) X(nvmlDeviceGetMaxPcieLinkGeneration) X(nvmlDeviceGetEccMode) \
    X(nvmlDeviceGetTotalEccErrors) X(nvmlDeviceGetRetiredPagesPendingStatus) X(nvmlDeviceGetFieldValues) \
    X(nvmlDeviceGetMaxMigDeviceCount) X(nvmlDeviceGetMigDeviceHandleByIndex) X(nvmlDeviceGetRemappedRows) \
    X(nvmlDeviceGetMigMode) X(nvmlDeviceGetComputeMode) X(nvmlDeviceGetPersistenceMode) \
    X(nvmlDeviceGetComputeRunningProcesses_v3) X(nvmlDeviceGetUtilizationRates) X(nvmlDeviceGetGpuFabricInfoV) \
    X(nvmlDeviceGetSupportedEventTypes) X(nvmlDeviceRegisterEvents) X(nvmlDeviceGetNvLinkState) \
    X(nvmlDeviceGetNvLinkVersion) X(nvmlDeviceGetNvLinkRemoteDeviceType) X(nvmlDeviceGetNvLinkRemotePciInfo_v2) \
    X(nvmlDeviceGetTopologyCommonAncestor) X(nvmlDeviceGetP2PStatus)

/* Waits or crashes where the state says so, then returns the code that this call is to give; 0 is "answer normally". */
int enter(const char *call, int device);

/* A value of the machine (NO_DEVICE) or of one device: the state's, else the healthy default. */
long long number(int device, const char *key);
void text(int device, const char *key, char out[TEXT_SIZE]);

#endif
