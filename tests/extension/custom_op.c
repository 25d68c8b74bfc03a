/* A library with one custom operator for the CPU: Negate of the domain "tests", y = -x for tensors of float.
 *
 * It calls ONNX Runtime's C API by the places of its functions, which never change, so it needs no header. */
#include <stddef.h>
#include <stdint.h>

enum { CREATE_DOMAIN = 26, ADD_TO_DOMAIN = 27, ADD_DOMAIN = 28, DATA = 51, RANK = 61, DIMENSIONS = 62, COUNT = 64 };
enum { TYPE_AND_SHAPE = 65, INPUT = 90, OUTPUT = 91, RELEASE_TYPE_AND_SHAPE = 99 };
enum { FLOAT = 1, MOST_DIMENSIONS = 8 };

typedef const void *const *Api;
typedef void *Status;
#define CALL(place, ...) ((Status(*)(__VA_ARGS__))api[place])

typedef struct {
    Api (*api)(uint32_t version);
    const char *(*version)(void);
} Base;

typedef struct Operator {
    uint32_t version;
    void *(*create)(const struct Operator *, Api, const void *info);
    const char *(*name)(const struct Operator *);
    const char *(*provider)(const struct Operator *);
    int (*input_type)(const struct Operator *, size_t);
    size_t (*input_count)(const struct Operator *);
    int (*output_type)(const struct Operator *, size_t);
    size_t (*output_count)(const struct Operator *);
    void (*compute)(void *kernel, void *context);
    void (*destroy)(void *kernel);
    int (*input_kind)(const struct Operator *, size_t);
    int (*output_kind)(const struct Operator *, size_t);
} Operator;

static void *create(const Operator *self, Api api, const void *info) { return (void *)(self && info ? api : NULL); }
static const char *name(const Operator *self) { return self ? "Negate" : NULL; }
static const char *provider(const Operator *self) { return self ? NULL : ""; }
static int type(const Operator *self, size_t place) { return self && place == 0 ? FLOAT : 0; }
static size_t one(const Operator *self) { return self ? 1 : 0; }
static int required(const Operator *self, size_t place) { return self && place == 0 ? 0 : 1; }
static void destroy(void *kernel) { (void)kernel; }

static void compute(void *kernel, void *context) {
    Api api = kernel;
    const void *x = NULL;
    void *y = NULL, *info = NULL;
    float *from = NULL, *to = NULL;
    size_t rank = 0, count = 0;
    int64_t sides[MOST_DIMENSIONS] = {0};
    CALL(INPUT, void *, size_t, const void **)(context, 0, &x);
    CALL(TYPE_AND_SHAPE, const void *, void **)(x, &info);
    CALL(RANK, void *, size_t *)(info, &rank);
    CALL(COUNT, void *, size_t *)(info, &count);
    if (rank <= MOST_DIMENSIONS) {
        CALL(DIMENSIONS, void *, int64_t *, size_t)(info, sides, rank);
        CALL(OUTPUT, void *, size_t, const int64_t *, size_t, void **)(context, 0, sides, rank, &y);
        CALL(DATA, const void *, float **)(x, &from);
        CALL(DATA, void *, float **)(y, &to);
        for (size_t place = 0; place < count; place++) to[place] = -from[place];
    }
    ((void (*)(void *))api[RELEASE_TYPE_AND_SHAPE])(info);
}

static const Operator NEGATE = {8,   create,  name,    provider, type,     one, type,
                                one, compute, destroy, required, required};

Status RegisterCustomOps(void *options, const Base *base) {
    Api api = base->api(8);
    void *domain = NULL; /* it lives as long as the library */
    Status failed = CALL(CREATE_DOMAIN, const char *, void **)("tests", &domain);
    if (!failed) failed = CALL(ADD_TO_DOMAIN, void *, const Operator *)(domain, &NEGATE);
    return failed ? failed : CALL(ADD_DOMAIN, void *, void *)(options, domain);
}
