/* Reads the state file and answers with its values or the defaults. The format stands in standin.h. */
#include "standin.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define MAX_SETTINGS 256

struct setting {
    const char *key, *value;
    long long from_ms;
};

/* A healthy machine. Where the default is a number, so must be the state's value. */
static const struct setting MACHINE[] = {
    {"devices", "1"},
    {"cuDriverGetVersion.value", "13000"},
    {"nvmlSystemGetDriverVersion.value", "580.159.04"},
    {"nvmlSystemGetNVMLVersion.value", "13.580.159.04"},
    {"nvmlSystemGetCudaDriverVersion.value", "13000"}, /* for both versions of the call */
};

static const struct setting DEVICE[] = {
    {"name", "NVIDIA H100 80GB HBM3"},
    {"uuid", "GPU-#a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f#"},
    {"pci", "0000:0#:05.0"},
    {"capability", "9.0"},
    {"multiprocessors", "132"},
    {"memory_mib", "81559"},
    {"memory_used_mib", "0"},
    {"power_mw", "71000"},
    {"power_limit_mw", "700000"}, /* enforced */
    {"power_limit_set_mw", "700000"},
    {"power_limit_default_mw", "700000"},
    {"energy_mj", "1000000"},
    {"temperature_c", "33"},
    {"sm_clock_mhz", "345"},
    {"sm_clock_max_mhz", "1980"},
    {"memory_clock_mhz", "2619"},
    {"memory_clock_max_mhz", "2619"},
    {"clock_reasons", "0x1"}, /* idle */
    {"performance_state", "0"},
    {"pcie_width", "16"},
    {"pcie_width_max", "16"},
    {"pcie_generation", "5"},
    {"pcie_generation_max", "5"},
    {"ecc_mode", "1"},
    {"ecc_mode_pending", "1"},
    {"ecc_corrected", "0"}, /* volatile: since the last boot */
    {"ecc_uncorrected", "0"},
    {"ecc_corrected_aggregate", "0"},
    {"ecc_uncorrected_aggregate", "0"},
    {"remapped_corrected", "0"},
    {"remapped_uncorrected", "0"},
    {"remapped_pending", "0"},
    {"remapped_failure", "0"},
    {"retired_pending", "0"},
    {"xid", "0"}, /* the driver's latest word of an error, which is an event */
    {"recovery_action", "0"},
    {"fabric_state", "0"}, /* NVML_GPU_FABRIC_STATE_NOT_SUPPORTED */
    {"nvlinks", "18"},
    {"nvlinks_down", ""}, /* their numbers, separated by spaces */
    {"nvlink_version", "6"},
    {"nvlink_to", ""}, /* PEER:LINKS, separated by spaces; the rest lead to a switch */
    {"socket", "0"}, /* two devices of one are linked within it */
    {"ancestor", ""}, /* PEER:LEVEL where that is otherwise, told at the first of two devices */
    {"p2p", ""}, /* PEER:STATUS of what is refused, likewise */
    {"mig_devices", "0"},
    {"mig_mode", "0"},
    {"mig_mode_pending", "0"},
    {"compute_mode", "0"},
    {"persistence_mode", "1"},
    {"processes", ""}, /* PID:MIB, separated by spaces */
    {"utilization", "0"},
    {"memory_utilization", "0"},
};

#define NAME(call) #call,
static const char *const MACHINE_CALL_NAMES[] = {MACHINE_CALLS(NAME)};
static const char *const DEVICE_CALL_NAMES[] = {DEVICE_CALLS(NAME)};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static struct setting settings[MAX_SETTINGS];
static size_t setting_count;
static struct timespec loaded;

__attribute__((format(printf, 1, 2), noreturn)) static void give_up(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("stand-in driver: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

static int is_number(const char *value)
{
    char *end;
    strtoll(value, &end, 0);
    return end != value && *end == '\0';
}

static long long elapsed_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - loaded.tv_sec) * 1000 + (now.tv_nsec - loaded.tv_nsec) / 1000000;
}

/* Of the values for a key the one that came into force last. */
static const char *find(const struct setting *table, size_t length, const char *key)
{
    const struct setting *found = NULL;
    for (size_t i = 0; i < length; i++)
        if (strcmp(table[i].key, key) == 0 && (!table[i].from_ms || table[i].from_ms <= elapsed_ms()) &&
            (!found || found->from_ms <= table[i].from_ms))
            found = &table[i];
    return found ? found->value : NULL;
}

static int given(const char *key, long long from_ms)
{
    for (size_t i = 0; i < setting_count; i++)
        if (strcmp(settings[i].key, key) == 0 && settings[i].from_ms == from_ms)
            return 1;
    return 0;
}

static int is_call(const char *const *names, size_t count, const char *key)
{
    size_t length = strcspn(key, ".");
    const char *suffix = key + length;
    if (*suffix && strcmp(suffix, ".delay_ms") != 0 && strcmp(suffix, ".crash") != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == length && strncmp(names[i], key, length) == 0)
            return 1;
    return 0;
}

/* The default that a key of the state file replaces; NULL where there is no such key. */
static const char *default_for(const char *key)
{
    int device, prefix = 0;
    if (sscanf(key, "device.%2d.%n", &device, &prefix) == 1 && prefix)
        key += prefix;
    else if (find(MACHINE, LENGTH(MACHINE), key))
        return find(MACHINE, LENGTH(MACHINE), key);
    else if (is_call(MACHINE_CALL_NAMES, LENGTH(MACHINE_CALL_NAMES), key))
        return "0";
    return is_call(DEVICE_CALL_NAMES, LENGTH(DEVICE_CALL_NAMES), key) ? "0" : find(DEVICE, LENGTH(DEVICE), key);
}

static char *trim(char *line)
{
    char *end = line + strlen(line);
    while (end > line && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return line + strspn(line, " \t");
}

__attribute__((constructor)) static void read_state(void)
{
    const char *path = getenv("GPUSMOKE_STANDIN");
    char line[512];
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core); /* crashes here are wanted */
    clock_gettime(CLOCK_MONOTONIC, &loaded);
    if (!path)
        return;
    FILE *file = fopen(path, "r");
    if (!file)
        give_up("can't read the state file %s", path);
    for (int at = 1; fgets(line, sizeof line, file); at++) {
        char *key = trim(line), *equals = strchr(key, '=');
        if (*key == '\0' || *key == '#')
            continue;
        if (!equals)
            give_up("%s:%d: no '=' in '%s'", path, at, key);
        *equals = '\0';
        long long from_ms = *key == '@' ? strtoll(key + 1, &key, 10) : 0;
        key = trim(key);
        const char *value = trim(equals + 1), *usual = default_for(key);
        if (!usual)
            give_up("%s:%d: unknown key '%s'", path, at, key);
        if (is_number(usual) && !is_number(value))
            give_up("%s:%d: '%s' takes a number, not '%s'", path, at, key, value);
        if (given(key, from_ms))
            give_up("%s:%d: '%s' was given before", path, at, key);
        if (setting_count == MAX_SETTINGS || strlen(value) >= TEXT_SIZE)
            give_up("%s:%d: too much", path, at);
        settings[setting_count++] = (struct setting){strdup(key), strdup(value), from_ms};
    }
    fclose(file);
    long long devices = number(NO_DEVICE, "devices");
    if (devices < 0 || devices > MAX_DEVICES)
        give_up("%s: devices must be 0 to %d", path, MAX_DEVICES);
    for (size_t i = 0; i < setting_count; i++) {
        int device;
        if (sscanf(settings[i].key, "device.%d.", &device) == 1 && (device < 0 || device >= devices))
            give_up("%s: '%s', but there are %lld devices", path, settings[i].key, devices);
    }
}

static const char *value_of(int device, const char *key)
{
    char narrow[TEXT_SIZE];
    const char *value = NULL;
    if (device != NO_DEVICE) {
        snprintf(narrow, sizeof narrow, "device.%d.%s", device, key);
        value = find(settings, setting_count, narrow);
    }
    if (!value)
        value = find(settings, setting_count, key);
    if (!value)
        value = default_for(key);
    if (!value)
        give_up("standin.h does not list '%s'", key);
    return value;
}

long long number(int device, const char *key)
{
    return strtoll(value_of(device, key), NULL, 0);
}

void text(int device, const char *key, char out[TEXT_SIZE])
{
    const char *value = value_of(device, key);
    size_t i = 0;
    for (; value[i]; i++)
        out[i] = value[i] == '#' ? "0123456789abcdef"[device & 15] : value[i];
    out[i] = '\0';
}

int enter(const char *call, int device)
{
    char key[TEXT_SIZE];
    snprintf(key, sizeof key, "%s.delay_ms", call);
    long long delay = number(device, key);
    if (delay > 0)
        nanosleep(&(struct timespec){delay / 1000, delay % 1000 * 1000000}, NULL);
    snprintf(key, sizeof key, "%s.crash", call);
    if (number(device, key)) {
        signal(SIGSEGV, SIG_DFL); /* a real driver's crash leaves no handler a chance either */
        raise(SIGSEGV);
    }
    return (int)number(device, call);
}
