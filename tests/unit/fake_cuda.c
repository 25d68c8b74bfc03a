/* The functions of NVIDIA's libcuda.so.1 that runoff calls, for a driver that the environment describes: FAKE_INIT
   is what cuInit answers, FAKE_COUNT how many GPUs there are, FAKE_VERSION the CUDA that it is made for. */
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100 };

static int told(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned int flags) { return flags ? INVALID_VALUE : told("FAKE_INIT", SUCCESS); }

int cuDeviceGetCount(int *count) {
    *count = told("FAKE_COUNT", 1);
    return SUCCESS;
}

int cuDriverGetVersion(int *version) {
    *version = told("FAKE_VERSION", 13000);
    return SUCCESS;
}

int cuDeviceGet(int *device, int index) {
    *device = 40 + index;
    return SUCCESS;
}

int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "Stand-in %d", device - 40);
    return SUCCESS;
}

int cuGetErrorName(int code, const char **name) {
    *name = code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name ? SUCCESS : INVALID_VALUE;
}
