/* The functions of NVIDIA's libnvidia-ml.so.1 that runoff calls through nvidia-ml-py, over GPUs described by a test. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

struct memory {
    unsigned long long total, free, used;
};

struct process {
    unsigned int pid;
    unsigned long long used;
    unsigned int gpu_instance, compute_instance;
};

struct gpu {
    const char *name;
    unsigned long long millijoules;
    int energy_state;
    unsigned long long used;
    struct process process;
};

static struct gpu gpus[2] = {{"Fake GPU A", 0, SUCCESS, 0, {0}}, {"Fake GPU B", 0, SUCCESS, 0, {0}}};
static int memory_state = SUCCESS;
static unsigned int count = 1;

void fake_count(unsigned int gpus_here) { count = gpus_here; }
void fake_energy(unsigned int index, unsigned long long millijoules) { gpus[index].millijoules = millijoules; }
void fake_state(unsigned int index, int state) { gpus[index].energy_state = state; }

void fake_used(unsigned int index, unsigned long long bytes) { gpus[index].used = bytes; }
void fake_process(unsigned int index, unsigned int pid, unsigned long long bytes) {
    gpus[index].process = (struct process){pid, bytes, 0, 0};
}
void fake_memory_state(int state) { memory_state = state; }

int nvmlInitWithFlags(unsigned int flags) { return flags ? NOT_SUPPORTED : SUCCESS; }

int nvmlDeviceGetCount_v2(unsigned int *found) {
    *found = count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct gpu **handle) {
    *handle = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetName(struct gpu *handle, char *name, unsigned int length) {
    return snprintf(name, length, "%s", handle->name) < (int)length ? SUCCESS : INSUFFICIENT_SIZE;
}

int nvmlDeviceGetTotalEnergyConsumption(struct gpu *handle, unsigned long long *millijoules) {
    *millijoules = handle->millijoules;
    return handle->energy_state;
}

int nvmlDeviceGetMemoryInfo(struct gpu *handle, struct memory *memory) {
    *memory = (struct memory){80000000000ULL, 80000000000ULL - handle->used, handle->used};
    return memory_state;
}

/* A GPU has one process, or none with id 0. */
int nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *handle, unsigned int *room, struct process *processes) {
    unsigned int there = handle->process.pid != 0;
    if (*room < there) {
        *room = there;
        return INSUFFICIENT_SIZE;
    }
    if (there)
        processes[0] = handle->process;
    *room = there;
    return SUCCESS;
}

const char *nvmlErrorString(int state) {
    return state == NOT_SUPPORTED ? "Not Supported" : state == GPU_IS_LOST ? "GPU is lost" : "Unknown Error";
}
