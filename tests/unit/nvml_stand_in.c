/* The functions of NVIDIA's libnvidia-ml.so.1 that runoff calls through nvidia-ml-py, over GPUs that a test describes. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

struct gpu {
    const char *name;
    unsigned long long millijoules;
    int energy_state;
};

static struct gpu gpus[2] = {{"Stand-in A", 0, SUCCESS}, {"Stand-in B", 0, SUCCESS}};
static unsigned int count = 1;

void stand_in_count(unsigned int gpus_here) { count = gpus_here; }
void stand_in_energy(unsigned int index, unsigned long long millijoules) { gpus[index].millijoules = millijoules; }
void stand_in_state(unsigned int index, int state) { gpus[index].energy_state = state; }

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

const char *nvmlErrorString(int state) {
    return state == NOT_SUPPORTED ? "Not Supported" : state == GPU_IS_LOST ? "GPU is lost" : "Unknown Error";
}
