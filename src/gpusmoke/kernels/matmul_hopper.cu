// C = A B in bf16 or fp16 with float32 sums, for Hopper (sm_90a): what it takes to keep its tensor cores busy.
//
// A cluster of two blocks computes 256 x BN of C at a time, each block 128 rows; tile after tile, until all are done.
//
//                 B: 64 x BN            a step: 64 of K, in shared memory as boxes of 64 x 64
//               +------------+
//               | both halves|          warpgroup 0, producer   one thread lets the copy engine (TMA) bring the boxes of
//               +------------+                                  A, and half of those of B, which go to both blocks
//   A: 64 rows  | consumer 1 |          warpgroups 1, 2         multiply what is there (wgmma), 64 rows each, sums in
//      64 rows  | consumer 2 |                                  registers; then round, and let the copy engine store
//               +------------+
//
//   full[s]   the copies of stage s are there       empty[s]   all consumers of both blocks have read it
//
// K is summed in one order whatever the grid, so results repeat bit by bit. Edges cost no code: the copy engine brings
// zeros from outside of a matrix, and writes nothing there. In return it wants rows that are multiples of 16 bytes.
// A launch may overlap with the end of the kernel before it: barriers and tensor maps are got ready meanwhile.

#include "hopper.cuh"

constexpr int BOX = 64, BM = 128, BK = BOX;
constexpr int BOX_BYTES = BOX * BOX * 2;
constexpr int CONSUMERS = BM / BOX, THREADS = 128 * (1 + CONSUMERS);
constexpr int PRODUCER_REGISTERS = 40, CONSUMER_REGISTERS = 232; // of 65536 / 128 = 512 for three warpgroups
constexpr int GROUP = 8; // rows of clusters whose tiles are computed together, so that the L2 cache holds what they share

template <int BN, int STAGES>
struct Memory {
    struct Stage {
        unsigned char a[BM / BOX][BOX_BYTES], b[BN / BOX][BOX_BYTES];
    } stages[STAGES];
    unsigned char results[CONSUMERS][2][BOX_BYTES]; // two of a consumer: one is filled while the other is stored
    Barrier full[STAGES], empty[STAGES];
};

// Where the tile with this number lies: in rows and columns of clusters.
struct Tile {
    int row, column;

    __device__ Tile(int number, int rows, int columns)
    {
        const int group = number / (GROUP * columns), within = number % (GROUP * columns);
        const int high = min(GROUP, rows - group * GROUP);
        row = group * GROUP + within % high, column = within / high;
    }
};

// The stages in turn, and whose phase it is.
template <int STAGES>
struct Turn {
    u32 stage = 0, parity = 0;

    __device__ void next()
    {
        if (++stage == STAGES)
            stage = 0, parity ^= 1;
    }
};

// Where a box of an operand begins that is at `k` along K, and at `other` along M or N.
template <bool ALONG>
__device__ int2 place(int k, int other)
{
    return ALONG ? make_int2(other, k) : make_int2(k, other);
}

template <typename T, bool A_ALONG_M, bool B_ALONG_N, int BN, int STAGES, int CLUSTER>
__device__ void matmul(const TensorMap &a, const TensorMap &b, const TensorMap &c, int m, int n, int k)
{
    extern __shared__ unsigned char raw[];
    using Shared = Memory<BN, STAGES>;
    Shared &shared = *reinterpret_cast<Shared *>((reinterpret_cast<u64>(raw) + 1023) / 1024 * 1024); // swizzled boxes

    const u32 rank = CLUSTER == 1 ? 0 : block_in_cluster();
    const int warpgroup = threadIdx.x / 128, steps = (k + BK - 1) / BK;
    const int rows = (m + CLUSTER * BM - 1) / (CLUSTER * BM), columns = (n + BN - 1) / BN;
    const int first = blockIdx.x / CLUSTER, clusters = gridDim.x / CLUSTER;

    if (threadIdx.x == 0) {
        prefetch(a), prefetch(b), prefetch(c);
        for (int stage = 0; stage < STAGES; ++stage) {
            shared.full[stage].init(1);
            shared.empty[stage].init(CLUSTER * CONSUMERS * 4); // warps
        }
        publish_barriers();
    }
    cluster_sync();
    let_later_kernels_begin();

    Turn<STAGES> turn;
    if (warpgroup == 0) {
        keep_registers<PRODUCER_REGISTERS>();
        if (threadIdx.x == 0) {
            wait_for_earlier_kernels();
            for (int number = first; number < rows * columns; number += clusters) {
                const Tile tile(number, rows, columns);
                const int row = (tile.row * CLUSTER + rank) * BM, column = tile.column * BN;
                for (int step = 0; step < steps; ++step, turn.next()) {
                    auto &stage = shared.stages[turn.stage];
                    Barrier &full = shared.full[turn.stage];
                    shared.empty[turn.stage].wait(turn.parity ^ 1);
                    full.arrive_expecting(sizeof stage);
                    for (int box = 0; box < BM / BOX; ++box)
                        load_box<1>(stage.a[box], a, place<A_ALONG_M>(step * BK, row + box * BOX), full);
                    for (int box = rank; box < BN / BOX; box += CLUSTER)
                        load_box<CLUSTER>(stage.b[box], b, place<B_ALONG_N>(step * BK, column + box * BOX), full);
                }
            }
        }
    } else {
        take_registers<CONSUMER_REGISTERS>();
        const int consumer = warpgroup - 1, lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
        // 16 of K further: 32 bytes along the rows, or 16 rows.
        constexpr u64 a_further = (A_ALONG_M ? 16 * 128 : 32) >> 4, b_further = (B_ALONG_N ? 16 * 128 : 32) >> 4;
        for (int number = first; number < rows * columns; number += clusters) {
            float sums[BN / 2];
            for (int step = 0; step < steps; ++step) {
                auto &stage = shared.stages[turn.stage];
                const u64 left = operand(stage.a[consumer], BOX_BYTES), right = operand(stage.b[0], BOX_BYTES);
                shared.full[turn.stage].wait(turn.parity);
                products_begin();
#pragma unroll
                for (int part = 0; part < BK / 16; ++part)
                    multiply<T, A_ALONG_M, B_ALONG_N>(
                        sums, left + part * a_further, right + part * b_further, step + part > 0);
                products_commit();
                products_done<1>(); // those of the step before, whose stage may be filled again
                if (step > 0 && lane < CLUSTER)
                    shared.empty[(turn.stage + STAGES - 1) % STAGES].arrive_at(lane);
                turn.next();
            }
            products_done<0>();
            settle(sums);
            if (lane < CLUSTER)
                shared.empty[(turn.stage + STAGES - 1) % STAGES].arrive_at(lane);

            const Tile tile(number, rows, columns);
            const int row = (tile.row * CLUSTER + rank) * BM + consumer * BOX, column = tile.column * BN;
#pragma unroll
            for (int box = 0; box < BN / BOX; ++box) {
                unsigned char *const result = shared.results[consumer][box % 2] + warp * 16 * 128; // 16 rows for a warp
                if (lane == 0)
                    stores_have_read<1>(); // of the box before the last
                __syncwarp();
                // The row that the thread addresses, and where in it: 16 bytes, swizzled.
                const int at = lane % 16, high = lane / 16;
#pragma unroll
                for (int part = 0; part < 4; ++part) {
                    const float *from = sums + box * 32 + part * 8;
                    store_matrices(result + at * 128 + ((part * 2 + high) ^ (at % 8)) * 16, pack<T>(from[0], from[1]),
                                   pack<T>(from[2], from[3]), pack<T>(from[4], from[5]), pack<T>(from[6], from[7]));
                }
                publish_to_copies();
                __syncwarp();
                if (lane == 0)
                    store_box(c, column + box * BOX, row + warp * 16, result);
            }
        }
        if (lane == 0)
            stores_have_read<0>();
    }
    cluster_sync(); // a block that ended would leave the other's copies and arrivals without their shared memory
}

#define KERNEL(NAME, T, A_ALONG_M, B_ALONG_N, BN, STAGES, CLUSTER)                                                    \
    extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1)                          \
        NAME(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,                                \
             const __grid_constant__ TensorMap c, int m, int n, int k)                                                \
    {                                                                                                                 \
        matmul<T, A_ALONG_M, B_ALONG_N, BN, STAGES, CLUSTER>(a, b, c, m, n, k);                                       \
    }

// A and B as they lie in memory: N has rows of A along K and rows of B along N, T the other way round.
#define LAYOUTS(NAME, T, ...)                                                                                         \
    KERNEL(NAME##_nn, T, false, true, __VA_ARGS__)                                                                    \
    KERNEL(NAME##_nt, T, false, false, __VA_ARGS__)                                                                   \
    KERNEL(NAME##_tn, T, true, true, __VA_ARGS__)                                                                     \
    KERNEL(NAME##_tt, T, true, false, __VA_ARGS__)
#define TILES(NAME, T)                                                                                                \
    LAYOUTS(NAME##_256x256, T, 256, 4, 2)                                                                             \
    LAYOUTS(NAME##_256x128, T, 128, 6, 2)                                                                             \
    LAYOUTS(NAME##_128x128, T, 128, 6, 1)

TILES(matmul_hopper_bf16, __nv_bfloat16)
TILES(matmul_hopper_fp16, __half)
