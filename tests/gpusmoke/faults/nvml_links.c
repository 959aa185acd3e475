/* The stand-in libnvidia-ml.so.1: NVLinks, and what two devices have to do with each other. */
#include "nvml_standin.h"

#include <stdio.h>
#include <string.h>

#define END_GPU 0 /* NVML_NVLINK_DEVICE_TYPE_… */
#define END_SWITCH 2
#define P2P_NVLINK 2 /* NVML_P2P_CAPS_INDEX_NVLINK */
#define P2P_OK 0     /* NVML_P2P_STATUS_… */
#define P2P_NOT_SUPPORTED 5
#define ANCESTOR_NODE 40 /* NVML_TOPOLOGY_… */
#define ANCESTOR_SYSTEM 50

/* The value for `wanted` in a device's list of PEER:VALUE, or `usual`. */
static unsigned listed(int index, const char *key, unsigned wanted, unsigned usual)
{
    char list[TEXT_SIZE];
    unsigned peer, value;
    text(index, key, list);
    for (int at = 0, length; sscanf(list + at, " %u:%u%n", &peer, &value, &length) == 2; at += length)
        if (peer == wanted)
            return value;
    return usual;
}

/* The device at the other end of a link, by a list of PEER:LINKS in the order of the links; NO_DEVICE is the switch. */
static int far_end(int index, unsigned link)
{
    char list[TEXT_SIZE];
    unsigned peer, count, before = 0;
    text(index, "nvlink_to", list);
    for (int at = 0, length; sscanf(list + at, " %u:%u%n", &peer, &count, &length) == 2; at += length)
        if (link < (before += count))
            return (int)peer;
    return NO_DEVICE;
}

/* What every call about a link says of one that the card does not have. */
#define BEGIN_LINK \
    BEGIN; \
    if (!number(index, "nvlinks")) \
        return NVML_ERROR_NOT_SUPPORTED; \
    if (link >= (unsigned)number(index, "nvlinks")) \
        return NVML_ERROR_INVALID_ARGUMENT

API nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, unsigned *up)
{
    char down[TEXT_SIZE];
    int one;
    BEGIN_LINK;
    text(index, "nvlinks_down", down);
    *up = 1;
    for (int at = 0, length; sscanf(down + at, " %d%n", &one, &length) == 1; at += length)
        *up &= one != (int)link;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t device, unsigned link, unsigned *version)
{
    BEGIN_LINK;
    *version = (unsigned)number(index, "nvlink_version");
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned link, unsigned *type)
{
    BEGIN_LINK;
    *type = far_end(index, link) == NO_DEVICE ? END_SWITCH : END_GPU;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci)
{
    BEGIN_LINK;
    if (far_end(index, link) == NO_DEVICE)
        return NVML_ERROR_NOT_SUPPORTED;
    fill(far_end(index, link), pci);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device, nvmlDevice_t other, unsigned *level)
{
    int second;
    BEGIN;
    if ((code = begin(__func__, other, &second)))
        return code;
    unsigned usual = number(index, "socket") == number(second, "socket") ? ANCESTOR_NODE : ANCESTOR_SYSTEM;
    *level = listed(index, "ancestor", (unsigned)second, usual);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetP2PStatus(nvmlDevice_t device, nvmlDevice_t other, unsigned what, unsigned *status)
{
    int second;
    BEGIN;
    if ((code = begin(__func__, other, &second)))
        return code;
    int linked = number(index, "nvlinks") && number(second, "nvlinks");
    *status = listed(index, "p2p", (unsigned)second, what == P2P_NVLINK && !linked ? P2P_NOT_SUPPORTED : P2P_OK);
    return NVML_SUCCESS;
}
