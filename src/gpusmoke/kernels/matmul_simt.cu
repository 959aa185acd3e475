// C = A B in float32 on the CUDA cores of any GPU, without tensor cores and so without rounding to tf32.
//
// A block of 256 threads computes 128 x 128 of C, a thread 8 x 8, summed in registers. K is taken in steps of 8:
//
//              B: 8 x 128          1  each thread loads 4 elements of A's and B's next step into registers
//              +--------+          2  multiplies the step in shared memory: 16 numbers read there serve 64 products
//      A:      |        |          3  writes the next step into the other half of shared memory
//   128 x 8    |        |
//       +--+   +--------+          The 8 x 8 of a thread are four 4 x 4, 64 apart: so threads that are neighbours read
//       |  |   | C      |          neighbouring numbers, four at a time.
//       +--+   +--------+

constexpr int TILE = 128, STEP = 8, THREADS = 256, EACH = TILE * STEP / THREADS;
constexpr int PADDED = TILE + 4; // neighbours along K are then written to different banks

// A matrix as PyTorch has it: any strides, in elements.
struct Matrix {
    const float *data;
    long long row, column;
};

// What a thread loads of A's steps, or of B's turned round, where `other` is along M or N: EACH elements a step, chosen
// so that neighbouring threads load what is consecutive in memory, be that along K or not.
struct Loads {
    const float *next;
    long long element, step; // the way to the thread's next element, and to the next step
    int k, k_element, other, other_element;
    unsigned inside = 0; // bit i: element i is not beyond the last row of A, or column of B
    float value[EACH];

    __device__ Loads(Matrix from, int first, int height)
    {
        const bool along_k = from.column == 1;
        k = along_k ? threadIdx.x % STEP : threadIdx.x / TILE, k_element = along_k ? 0 : THREADS / TILE;
        other = along_k ? threadIdx.x / STEP : threadIdx.x % TILE, other_element = along_k ? THREADS / STEP : 0;
        for (int i = 0; i < EACH; ++i)
            inside |= (first + other + i * other_element < height) << i;
        next = from.data + (first + other) * from.row + k * from.column;
        element = other_element * from.row + k_element * from.column, step = STEP * from.column;
    }

    __device__ void load(int left)
    {
#pragma unroll
        for (int i = 0; i < EACH; ++i)
            value[i] = inside >> i & 1 && k + i * k_element < left ? next[i * element] : 0.0f;
        next += step;
    }

    __device__ void keep(float (*to)[PADDED]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; ++i)
            to[k + i * k_element][other + i * other_element] = value[i];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    matmul_simt_fp32(Matrix a, Matrix b, float *c, int m, int n, int k, long long c_stride)
{
    __shared__ __align__(16) float left[2][STEP][PADDED], right[2][STEP][PADDED];
    const int row = blockIdx.x * TILE, column = blockIdx.y * TILE, y = threadIdx.x / 16 * 4, x = threadIdx.x % 16 * 4;
    Loads of_a(a, row, m), of_b(b, column, n);
    float sums[8][8] = {};

    of_a.load(k), of_b.load(k);
    for (int begin = 0, half = 0; begin < k; begin += STEP, half ^= 1) {
        of_a.keep(left[half]), of_b.keep(right[half]);
        __syncthreads(); // one a step will do: who writes this half again has been through the next one
        of_a.load(k - begin - STEP), of_b.load(k - begin - STEP);
#pragma unroll
        for (int at = 0; at < STEP; ++at) {
            float u[8], v[8];
            for (int part = 0; part < 2; ++part) {
                *reinterpret_cast<float4 *>(u + part * 4) = *reinterpret_cast<float4 *>(&left[half][at][y + part * 64]);
                *reinterpret_cast<float4 *>(v + part * 4) = *reinterpret_cast<float4 *>(&right[half][at][x + part * 64]);
            }
            for (int i = 0; i < 8; ++i)
                for (int j = 0; j < 8; ++j)
                    sums[i][j] += u[i] * v[j];
        }
    }
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; ++j) {
            const int at = row + y + i / 4 * 64 + i % 4, to = column + x + j / 4 * 64 + j % 4;
            if (at < m && to < n)
                c[at * c_stride + to] = sums[i][j];
        }
}
