// C = A B in bf16 or fp16 with float32 sums, on the tensor cores of every GPU since Ampere (sm_80).
//
// A block computes 128 x 256 of C. K is taken in steps of 64, of which three at a time are in shared memory:
//
//   cp.async          16 bytes each, two steps ahead of the products; zeros for what lies outside of A or B
//   ldmatrix          8 x 8 elements for a warp; its 16-byte rows are swizzled, so that eight are in different banks
//   mma.sync          16 x 8 of C += 16 x 16 of A times 16 x 8 of B, in registers, for a warp
//   shfl.sync         each two threads exchange what they have of C, so that stores are of 8 bytes, and fill sectors
//
//        64   64   64   64
//       +----+----+----+----+
//    64 | 0  | 1  | 2  | 3  |      each of the 8 warps 64 x 64 of C: large, since what a warp loads from shared memory
//       +----+----+----+----+      grows with the sides of its tile, and what it multiplies with the area
//    64 | 4  | 5  | 6  | 7  |
//       +----+----+----+----+
//
// Any M, N and K; rows of A and B have to begin at multiples of 16 bytes.

#include "common.cuh"

// Most GPUs outside of data centres give a block 99 KB of shared memory, the others 163 KB and more; plan.py knows which.
// https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/compute-capabilities.html
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 880 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
constexpr int BK = 32, STAGES = 4;
#else
constexpr int BK = 64, STAGES = 3;
#endif
constexpr int BM = 128, BN = 256, THREADS = 256;
constexpr int WARP_M = 64, WARP_N = 64;
constexpr int CHUNK = 8; // elements in 16 bytes, which are loaded and swizzled together
constexpr int GROUP = 8; // rows of blocks that are computed together, so that the L2 cache holds what they share

// Begin to copy 16 bytes into shared memory, of which those after `bytes` are zeros.
__device__ inline void copy_chunk(void *to, const void *from, int bytes)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ inline void copies_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Of four elements those that are within C.
template <typename T>
__device__ __noinline__ void store_within(T *to, uint2 four, int left)
{
    const T *const elements = reinterpret_cast<const T *>(&four);
    for (int i = 0; i < min(left, 4); ++i)
        to[i] = elements[i];
}

template <int PENDING>
__device__ inline void copies_done()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8 x 8 matrices; thread t has the address of row t % 8 of matrix t / 8, and gets two elements of each.
template <bool TRANSPOSE>
__device__ inline void load_matrices(u32 (&to)[4], const void *row)
{
    if constexpr (TRANSPOSE)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(shared_address(row)));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                     : "r"(shared_address(row)));
}

template <typename T>
__device__ inline void multiply(float (&d)[4], const u32 (&a)[4], u32 b_low, u32 b_high)
{
    if constexpr (is_bf16<T>)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_low), "r"(b_high));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b_low), "r"(b_high));
}

// One step of an operand in shared memory: OTHER (of M or N) x BK elements. Its rows run along K as they are in memory,
// or, if ALONG, along M or N.
template <typename T, int OTHER, bool ALONG>
struct Step {
    static constexpr int ROWS = ALONG ? BK : OTHER, CHUNKS = (ALONG ? OTHER : BK) / CHUNK; // of a row
    T elements[ROWS * CHUNKS * CHUNK];

    // Eight rows of 64 bytes lie in four lines of all banks, longer ones in eight.
    __device__ T *chunk(int row, int at)
    {
        const int mask = CHUNKS < 8 ? row / 2 % CHUNKS : row % 8;
        return elements + (row * CHUNKS + (at ^ mask)) * CHUNK;
    }

    // 16 of M or N times 16 of K, as four 8 x 8 matrices; which bit of the thread's number goes to the upper half of
    // either direction is their order.
    __device__ void fragment(u32 (&to)[4], int other, int k, int other_bit, int k_bit)
    {
        const int lane = threadIdx.x % 32, within = lane % 8;
        const int other_half = lane & other_bit ? 1 : 0, k_half = lane & k_bit ? 1 : 0;
        if constexpr (ALONG)
            load_matrices<true>(to, chunk(k + k_half * 8 + within, other / CHUNK + other_half));
        else
            load_matrices<false>(to, chunk(other + other_half * 8 + within, k / CHUNK + k_half));
    }
};

// What a thread copies of an operand's steps: the same 16 bytes of every EVERY-th row.
template <typename T, int OTHER, bool ALONG>
struct Copies {
    using Of = Step<T, OTHER, ALONG>;
    static constexpr int EVERY = THREADS / Of::CHUNKS, COUNT = Of::ROWS / EVERY;
    static_assert(EVERY % 8 == 0, "all rows of a thread are swizzled alike");

    const T *from, *next;
    long long stride;
    int row = threadIdx.x / Of::CHUNKS, chunk = threadIdx.x % Of::CHUNKS;
    int others, depth; // what is left of M or N, and of K

    __device__ Copies(const T *from, long long stride, int first, int others, int depth)
        : from(from), stride(stride), others(others - first), depth(depth)
    {
        next = from + (ALONG ? row * stride + first : (first + row) * stride) + chunk * CHUNK;
    }

    // Begin to copy the next step; zeros stand for what lies outside.
    __device__ void load(Of &to)
    {
        const int rows = ALONG ? depth : others;
        const int there = min(max((ALONG ? others : depth) - chunk * CHUNK, 0), CHUNK);
        T *const target = to.chunk(row, chunk);
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int inside = row + i * EVERY < rows ? there : 0;
            const T *source = inside ? next + i * EVERY * stride : from;
            copy_chunk(target + i * EVERY * Of::CHUNKS * CHUNK, source, inside * 2);
        }
        next += ALONG ? BK * stride : BK;
        depth -= BK;
    }
};

template <typename T, bool A_ALONG_M, bool B_ALONG_N>
__device__ void matmul(const T *a, const T *b, T *c, int m, int n, int k, long long a_stride, long long b_stride,
                       long long c_stride)
{
    using A = Step<T, BM, A_ALONG_M>;
    using B = Step<T, BN, B_ALONG_N>;
    extern __shared__ __align__(128) unsigned char memory[];
    A *const left = reinterpret_cast<A *>(memory);
    B *const right = reinterpret_cast<B *>(left + STAGES);

    const int rows = (m + BM - 1) / BM, columns = (n + BN - 1) / BN;
    const int group = blockIdx.x / (GROUP * columns), within = blockIdx.x % (GROUP * columns);
    const int high = min(GROUP, rows - group * GROUP);
    const int row = (group * GROUP + within % high) * BM, column = within / high * BN;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp / (BN / WARP_N) * WARP_M, warp_column = warp % (BN / WARP_N) * WARP_N;

    const int steps = (k + BK - 1) / BK;
    Copies<T, BM, A_ALONG_M> of_a(a, a_stride, row, m, k);
    Copies<T, BN, B_ALONG_N> of_b(b, b_stride, column, n, k);
    constexpr int PARTS = BK / 16;
    auto load = [&](int step) {
        of_a.load(left[step % STAGES]);
        of_b.load(right[step % STAGES]);
        copies_commit();
    };

    u32 x[2][WARP_M / 16][4], y[2][WARP_N / 16][4]; // of A and B: one is multiplied while the other is loaded
    auto fragments = [&](int which, int stage, int part) {
#pragma unroll
        for (int i = 0; i < WARP_M / 16; ++i)
            left[stage].fragment(x[which][i], warp_row + i * 16, part * 16, 8, 16);
#pragma unroll
        for (int i = 0; i < WARP_N / 16; ++i)
            right[stage].fragment(y[which][i], warp_column + i * 16, part * 16, 16, 8);
    };

    float sums[WARP_M / 16][WARP_N / 8][4] = {};
    for (int step = 0; step < STAGES - 1; ++step)
        load(step);
    copies_done<STAGES - 2>();
    __syncthreads();
    fragments(0, 0, 0);
    for (int step = 0; step < steps; ++step) {
        load(step + STAGES - 1); // zeros, after the last one: so there is nothing to decide here
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            if (part == PARTS - 1) { // the next step is there, and all warps have read this one, which may be overwritten
                copies_done<STAGES - 2>();
                __syncthreads();
                fragments((part + 1) % 2, (step + 1) % STAGES, 0);
            } else {
                fragments((part + 1) % 2, step % STAGES, part + 1);
            }
#pragma unroll
            for (int i = 0; i < WARP_M / 16; ++i)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; ++j) {
                    const u32(&pair)[4] = y[part % 2][j / 2];
                    multiply<T>(sums[i][j], x[part % 2][i], pair[j % 2 * 2], pair[j % 2 * 2 + 1]);
                }
        }
    }

    // Of every 16 columns a thread has two that are neighbours in the first 8, and two in the others. Each two threads
    // exchange, so that each has four neighbours, and four threads a sector of 32 bytes; where C ends, or is not aligned,
    // one element after the other.
    const bool odd = lane % 2;
    const bool whole = row + BM <= m && column + BN <= n && c_stride % 4 == 0 && reinterpret_cast<u64>(c) % 8 == 0;
#pragma unroll
    for (int i = 0; i < WARP_M / 16; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int at = row + warp_row + i * 16 + half * 8 + lane / 4;
            const int to = column + warp_column + odd * 8 + lane % 4 / 2 * 4;
            T *const out = c + at * c_stride + to;
#pragma unroll
            for (int j = 0; j < WARP_N / 8; j += 2) {
                const u32 first = pack<T>(sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
                const u32 second = pack<T>(sums[i][j + 1][half * 2], sums[i][j + 1][half * 2 + 1]);
                const u32 got = __shfl_xor_sync(~0u, odd ? first : second, 1);
                const uint2 four = odd ? make_uint2(got, second) : make_uint2(first, got);
                if (whole)
                    *reinterpret_cast<uint2 *>(out + j * 8) = four;
                else
                    store_within(out + j * 8, four, at < m ? n - to - j * 8 : 0);
            }
        }
}

#define KERNEL(NAME, T, A_ALONG_M, B_ALONG_N)                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                             \
        NAME(const T *a, const T *b, T *c, int m, int n, int k, long long a_stride, long long b_stride,               \
             long long c_stride)                                                                                      \
    {                                                                                                                 \
        matmul<T, A_ALONG_M, B_ALONG_N>(a, b, c, m, n, k, a_stride, b_stride, c_stride);                              \
    }

// A and B as they lie in memory: N has rows of A along K and rows of B along N, T the other way round.
#define LAYOUTS(NAME, T)                                                                                              \
    KERNEL(NAME##_nn, T, false, true)                                                                                 \
    KERNEL(NAME##_nt, T, false, false)                                                                                \
    KERNEL(NAME##_tn, T, true, true)                                                                                  \
    KERNEL(NAME##_tt, T, true, false)

LAYOUTS(matmul_mma_bf16, __nv_bfloat16)
LAYOUTS(matmul_mma_fp16, __half)
