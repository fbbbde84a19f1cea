/* A stand-in for libnvidia-ml.so.1, for machines without the hardware.

   Every call reads the file named by GPUJOBS_FAKE_NVML, so a test can change the box while it is
   being looked at. README.md beside this file describes the lines. Only what gpujobs asks for is here. */

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };
enum { MAX_DEVICES = 64, MAX_PROCESSES = 256, MAX_ERRORS = 64, MAX_XIDS = 256 };

typedef unsigned long long bytes_t;
#define RESERVED ((bytes_t)600 << 20)
typedef struct { unsigned pid; bytes_t memory; unsigned gpu_instance, compute_instance; } process_info_t;
typedef struct { bytes_t total, free, used; } memory_t;
typedef struct { unsigned version; bytes_t total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { void *device; bytes_t type, data; unsigned gpu_instance, compute_instance; } event_t;

typedef struct {
    char uuid[96], name[96];
    bytes_t total, used;
    int utilization, temperature, power, error, parent, mig, row_failure;
    long long energy; /* millijoules since the driver was loaded; -1 is "not supported" */
    bytes_t uncorrected; /* ECC errors */
    bytes_t trainers; /* memory reported for each process whose CUDA_VISIBLE_DEVICES is this UUID */
} device_t;
typedef struct { int device; char kind; unsigned pid; bytes_t memory; } process_t;
typedef struct { char function[64]; int code; } call_error_t;
typedef struct { int device, code; } xid_t;

static device_t devices[MAX_DEVICES];
static process_t processes[MAX_PROCESSES];
static call_error_t call_errors[MAX_ERRORS];
static xid_t xids[MAX_XIDS];
static int device_count, process_count, error_count, xid_count, init_error, hang;
static int broken; /* after a failure of the whole, as of a real driver, until it is initialised anew */
static int xids_told; /* of the one event set that a process makes: those before it are not told */
static double delay;

/* The value of a script: "BEGAN STEP V0 V1 ...", of which the last one holds for ever. */
static double scripted(const char *rest) {
    double began, step, value = 0, found;
    int used, at = 0;
    struct timespec now;
    if (sscanf(rest, "%lf %lf%n", &began, &step, &used) != 2 || step <= 0) return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    double place = ((double)now.tv_sec + (double)now.tv_nsec / 1e9 - began) / step;
    for (rest += used; sscanf(rest, "%lf%n", &found, &used) == 1; rest += used, at++)
        if (!at || at <= place) value = found;
    return value;
}

static void play(device_t *d, const char *what, double value) {
    if (!strcmp(what, "utilization")) d->utilization = (int)value;
    else if (!strcmp(what, "power")) d->power = (int)value;
    else if (!strcmp(what, "energy")) d->energy = (long long)value;
    else if (!strcmp(what, "used")) d->used = (bytes_t)value;
    else if (!strcmp(what, "trainers")) d->trainers = (bytes_t)value;
}

static void load(void) {
    const char *path = getenv("GPUJOBS_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    static char line[65536];
    char kind, text[96];
    int scripted_from;
    device_count = process_count = error_count = xid_count = init_error = hang = 0;
    delay = 0;
    if (!file) { init_error = 9; return; }
    while (fgets(line, sizeof line, file)) {
        device_t d = {.parent = -1, .utilization = -1, .temperature = -1, .power = -1, .energy = -1};
        process_t p;
        call_error_t e;
        if (sscanf(line, "device %95s %llu %llu %d %d %d %d %llu %95[^\n]", d.uuid, &d.total, &d.used,
                   &d.utilization, &d.temperature, &d.power, &d.error, &d.trainers, d.name) == 9
            && device_count < MAX_DEVICES)
            devices[device_count++] = d;
        else if (sscanf(line, "mig %d %95s %llu %llu", &d.parent, d.uuid, &d.total, &d.used) == 4
                 && device_count < MAX_DEVICES) {
            strcpy(d.name, "MIG 1g.10gb");
            devices[d.parent].mig = 1;
            devices[device_count++] = d;
        } else if (sscanf(line, "process %d %c %u %95s", &p.device, &kind, &p.pid, text) == 4
                   && process_count < MAX_PROCESSES) {
            p.kind = kind;
            p.memory = strcmp(text, "unknown") ? strtoull(text, NULL, 10) : ~0ULL;
            processes[process_count++] = p;
        } else if (sscanf(line, "error %63s %d", e.function, &e.code) == 2 && error_count < MAX_ERRORS)
            call_errors[error_count++] = e;
        int device;
        bytes_t errors;
        if (sscanf(line, "ecc %d %llu", &device, &errors) == 2) devices[device].uncorrected = errors;
        if (sscanf(line, "rows %d", &device) == 1) devices[device].row_failure = 1;
        if (sscanf(line, "energy %d %95s", &device, text) == 2) devices[device].energy = atoll(text);
        if (sscanf(line, "script %d %95s%n", &device, text, &scripted_from) == 2)
            play(&devices[device], text, scripted(line + scripted_from));
        if (xid_count < MAX_XIDS && sscanf(line, "xid %d %d", &xids[xid_count].device, &xids[xid_count].code) == 2)
            xid_count++;
        sscanf(line, "init %d", &init_error);
        sscanf(line, "delay %lf", &delay);
        if (!strncmp(line, "hang", 4)) hang = 1;
    }
    fclose(file);
}

/* Reads the file again, then misbehaves as it says. */
static int begin(const char *function) {
    load();
    if (hang) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
        for (;;) pause();
    }
    if (delay > 0) usleep((useconds_t)(delay * 1e6));
    if (init_error) return broken = init_error;
    if (broken) return broken;
    for (int i = 0; i < error_count; i++)
        if (!strcmp(call_errors[i].function, function)) return call_errors[i].code;
    return SUCCESS;
}

static device_t *device_of(void *handle) { return &devices[(int)(size_t)handle - 1]; }
static void *handle_of(int index) { return (void *)(size_t)(index + 1); }

#define BEGIN(handle)                                                        \
    int code = begin(__func__);                                              \
    if (code) return code;                                                   \
    if ((int)(size_t)(handle) > device_count) return INVALID_ARGUMENT;       \
    if (device_of(handle)->error) return device_of(handle)->error;

int nvmlInit_v2(void) { broken = 0; return begin(__func__); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; broken = 0; return begin(__func__); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the fake"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = begin(__func__);
    *count = 0;
    for (int i = 0; i < device_count; i++) *count += devices[i].parent < 0;
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    int code = begin(__func__);
    unsigned seen = 0;
    if (code) return code;
    for (int i = 0; i < device_count; i++)
        if (devices[i].parent < 0 && seen++ == index) {
            *handle = handle_of(i);
            return devices[i].error == 15 ? 15 : SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    BEGIN(handle)
    *current = (unsigned)device_of(handle)->mig;
    *pending = !*current; /* somebody has asked for the other one, from the next reset on */
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { BEGIN(handle) *count = 7; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **instance) {
    BEGIN(handle)
    unsigned seen = 0;
    for (int i = 0; i < device_count; i++)
        if (devices[i].parent >= 0 && handle_of(devices[i].parent) == handle && seen++ == index) {
            *instance = handle_of(i);
            return SUCCESS;
        }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    int code = begin(__func__);
    if (!code) snprintf(uuid, length, "%s", device_of(handle)->uuid);
    return code;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    BEGIN(handle)
    snprintf(name, length, "%s", device_of(handle)->name);
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    BEGIN(handle)
    device_t *d = device_of(handle);
    bytes_t used = d->used + RESERVED; /* here what the driver keeps for itself counts as used */
    *memory = (memory_t){d->total, d->total - used, used};
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2_t *memory) {
    BEGIN(handle)
    device_t *d = device_of(handle);
    memory->total = d->total;
    memory->reserved = RESERVED;
    memory->free = d->total - d->used - RESERVED;
    memory->used = d->used;
    return SUCCESS;
}

static int number(int value, unsigned *result) {
    if (value < 0) return NOT_SUPPORTED;
    *result = (unsigned)value;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *rates) {
    BEGIN(handle)
    rates->memory = 0;
    return number(device_of(handle)->utilization, &rates->gpu);
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    (void)sensor;
    BEGIN(handle)
    if (device_of(handle)->parent >= 0) return NOT_SUPPORTED; /* of a MIG instance */
    return number(device_of(handle)->temperature, celsius);
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    BEGIN(handle)
    if (device_of(handle)->parent >= 0) return NOT_SUPPORTED; /* of a MIG instance */
    return number(device_of(handle)->power, milliwatts);
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, bytes_t *millijoules) {
    BEGIN(handle)
    if (device_of(handle)->energy < 0) return NOT_SUPPORTED;
    *millijoules = (bytes_t)device_of(handle)->energy;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(void *handle, unsigned type, unsigned counter, bytes_t *count) {
    (void)counter;
    BEGIN(handle)
    if (device_of(handle)->parent >= 0) return NOT_SUPPORTED; /* of a MIG instance */
    *count = type == 1 ? device_of(handle)->uncorrected : 0;
    return SUCCESS;
}

int nvmlDeviceGetRemappedRows(void *handle, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                              unsigned *failure) {
    BEGIN(handle)
    *corrected = *uncorrected = *pending = 0;
    *failure = (unsigned)device_of(handle)->row_failure;
    return SUCCESS;
}

int nvmlEventSetCreate(void **set) {
    int code = begin(__func__);
    static int only;
    *set = &only;
    xids_told = xid_count;
    return code;
}

int nvmlDeviceRegisterEvents(void *handle, bytes_t types, void *set) { (void)types; (void)set; BEGIN(handle) return SUCCESS; }

int nvmlEventSetWait_v2(void *set, event_t *event, unsigned milliseconds) {
    (void)set; (void)milliseconds;
    int code = begin(__func__);
    if (code) return code;
    if (xids_told >= xid_count) return TIMEOUT;
    *event = (event_t){.device = handle_of(xids[xids_told].device), .type = 8, .data = (bytes_t)xids[xids_told].code};
    xids_told++;
    return SUCCESS;
}

/* Whether the environment of a process names this device as its only visible one. */
static int sees(const char *pid, const char *uuid) {
    char path[300], wanted[160], content[65536];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t length = fread(content, 1, sizeof content - 1, file);
    fclose(file);
    content[length] = 0;
    snprintf(wanted, sizeof wanted, "CUDA_VISIBLE_DEVICES=%s", uuid);
    for (char *at = content; at < content + length; at += strlen(at) + 1)
        if (!strcmp(at, wanted)) return 1;
    return 0;
}

static int list(void *handle, char kind, unsigned *count, process_info_t *found) {
    unsigned total = 0, room = found ? *count : 0;
    int index = (int)(size_t)handle - 1;
    for (int i = 0; i < process_count; i++)
        if (processes[i].device == index && processes[i].kind == kind && total++ < room)
            found[total - 1] = (process_info_t){processes[i].pid, processes[i].memory, ~0u, ~0u};
    if (kind == 'C' && devices[index].trainers) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        while (proc && (entry = readdir(proc)))
            if (atoi(entry->d_name) > 0 && sees(entry->d_name, devices[index].uuid) && total++ < room)
                found[total - 1] = (process_info_t){(unsigned)atoi(entry->d_name), devices[index].trainers, ~0u, ~0u};
        if (proc) closedir(proc);
    }
    *count = total;
    return total > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name, kind)                                                \
    int name(void *handle, unsigned *count, process_info_t *found) {         \
        BEGIN(handle)                                                        \
        return list(handle, kind, count, found);                             \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 'C')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 'G')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, 'M')
