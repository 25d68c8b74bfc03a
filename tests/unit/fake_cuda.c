/* The functions of NVIDIA's libcuda.so.1 that runoff calls, for a driver described by the environment: FAKE_INIT is
   the result of cuInit, FAKE_COUNT the number of GPUs, FAKE_VERSION the CUDA version of the driver. */
#include <stdio.h>
#include <stdlib.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NO_DEVICE = 100 };

static int setting(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

int cuInit(unsigned int flags) { return flags ? INVALID_VALUE : setting("FAKE_INIT", SUCCESS); }

int cuDeviceGetCount(int *count) {
    *count = setting("FAKE_COUNT", 1);
    return SUCCESS;
}

int cuDriverGetVersion(int *version) {
    *version = setting("FAKE_VERSION", 13000);
    return SUCCESS;
}

int cuDeviceGet(int *device, int index) {
    *device = 40 + index;
    return SUCCESS;
}

int cuDeviceGetName(char *name, int length, int device) {
    snprintf(name, (size_t)length, "Fake GPU %d", device - 40);
    return SUCCESS;
}

int cuGetErrorName(int code, const char **name) {
    *name = code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return *name ? SUCCESS : INVALID_VALUE;
}
