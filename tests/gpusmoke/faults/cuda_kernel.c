/* The stand-in libcuda's machine code. Any is taken; of all kernels it knows one, the product of matmul_simt.cu, which
 * it computes itself: the memory of the stand-in GPU (standin_gpu.py) is the host's. */
#include "standin.h"

#include <string.h>

enum { CUDA_ERROR_NOT_FOUND = 500 };

struct matrix {
    const float *data;
    long long row, column;
};

static char kernel; /* what handles point to */

API int cuLibraryLoadData(void **library)
{
    int code = enter(__func__, NO_DEVICE);
    if (!code)
        *library = &kernel;
    return code;
}

API int cuLibraryGetKernel(void **found, void *library, const char *name)
{
    int code = enter(__func__, NO_DEVICE);
    if (code)
        return code;
    *found = library;
    return strcmp(name, "matmul_simt_fp32") ? CUDA_ERROR_NOT_FOUND : 0;
}

/* The arguments stand in matmul_simt.cu. */
API int cuLaunchKernelEx(const void *config, void *function, void **arguments)
{
    int code = enter(__func__, NO_DEVICE);
    if (code || !config || function != &kernel)
        return code ? code : CUDA_ERROR_NOT_FOUND;
    const struct matrix *a = arguments[0], *b = arguments[1];
    float *c = *(float **)arguments[2];
    const int m = *(int *)arguments[3], n = *(int *)arguments[4], k = *(int *)arguments[5];
    const long long stride = *(long long *)arguments[6];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            const float *x = a->data + i * a->row, *y = b->data + j * b->row;
            float sums[4] = {0};
            for (int at = 0; at < k; at += 4) /* of four sums none waits for another's addition */
                for (int of = 0; of < 4 && at + of < k; of++)
                    sums[of] += x[(at + of) * a->column] * y[(at + of) * b->column];
            c[i * stride + j] = sums[0] + sums[1] + sums[2] + sums[3];
        }
    return 0;
}
