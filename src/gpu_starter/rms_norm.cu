// y = weight * s / sqrt(mean(s^2) + eps) with s = x + residual, row by row: what stands between two layers of most
// transformers. It is bound by memory, so all that counts is how often a byte moves: x and residual are read once, s and
// y written once, where an addition and a norm of their own read s once more.
//
//   a block has a row         |-- 16 bytes --|-- 16 bytes --|  ...  each thread a vector, then the next but BLOCK
//   1  s = x + residual       kept in shared memory as written, its squares summed in float32
//   2  y = s * scale * w      read from there

#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T, int WIDTH>
struct alignas(sizeof(T) * WIDTH) Vector {
    T at[WIDTH];
};

// The sum over all threads of the block, in each of them.
__device__ float sum_of_block(float value)
{
    __shared__ float parts[32];
    for (int apart = 16; apart > 0; apart /= 2)
        value += __shfl_xor_sync(~0u, value, apart);
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = value;
    __syncthreads();
    float total = 0;
    for (int warp = 0; warp < blockDim.x / 32; ++warp)
        total += parts[warp];
    return total;
}

template <typename T, int WIDTH>
__device__ void row(const T *x, const T *residual, const T *weight, T *y, T *sum, long long columns, float eps)
{
    using V = Vector<T, WIDTH>;
    extern __shared__ __align__(16) unsigned char memory[];
    V *kept = reinterpret_cast<V *>(memory);
    const long long vectors = columns / WIDTH, begin = blockIdx.x * columns / WIDTH;
    const V *a = reinterpret_cast<const V *>(x) + begin, *b = reinterpret_cast<const V *>(residual) + begin;
    const V *w = reinterpret_cast<const V *>(weight);
    V *out = reinterpret_cast<V *>(y) + begin, *s = reinterpret_cast<V *>(sum) + begin;

    float squares = 0;
    for (long long i = threadIdx.x; i < vectors; i += blockDim.x) {
        V left = a[i], right = b[i], both;
        for (int k = 0; k < WIDTH; ++k) {
            both.at[k] = static_cast<T>(static_cast<float>(left.at[k]) + static_cast<float>(right.at[k]));
            const float value = static_cast<float>(both.at[k]);
            squares += value * value;
        }
        s[i] = kept[i] = both;
    }
    const float scale = rsqrtf(sum_of_block(squares) / columns + eps);
    for (long long i = threadIdx.x; i < vectors; i += blockDim.x) { // the thread's own vectors: no barrier is needed
        V value = kept[i], factor = w[i], result;
        for (int k = 0; k < WIDTH; ++k)
            result.at[k] =
                static_cast<T>(static_cast<float>(value.at[k]) * scale * static_cast<float>(factor.at[k]));
        out[i] = result;
    }
}

// One kernel for each number format, with vectors of 16 bytes where pointers and rows are aligned to that (`wide`).
#define KERNEL(NAME, T)                                                                                               \
    extern "C" __global__ void NAME(const T *x, const T *residual, const T *weight, T *y, T *sum, long long columns,  \
                                    float eps, int wide)                                                              \
    {                                                                                                                 \
        if (wide)                                                                                                     \
            row<T, 16 / sizeof(T)>(x, residual, weight, y, sum, columns, eps);                                        \
        else                                                                                                          \
            row<T, 1>(x, residual, weight, y, sum, columns, eps);                                                     \
    }

KERNEL(add_rms_norm_bf16, __nv_bfloat16)
KERNEL(add_rms_norm_fp16, __half)
KERNEL(add_rms_norm_fp32, float)
