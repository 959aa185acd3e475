// Instructions that only Hopper has and C++ no words for, one function each. What they do stands in the PTX ISA:
// https://docs.nvidia.com/cuda/parallel-thread-execution/ (mbarrier, cp.async.bulk.tensor, wgmma, stmatrix, setmaxnreg).

#pragma once

#include "common.cuh"

// What cuTensorMapEncodeTiled fills: where a matrix lies, and which box of it one copy takes.
struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

// ── Barriers in shared memory ────────────────────────────────────────────────────────────────────────────────────────

// Its phase ends when `count` threads have arrived and all bytes that were announced are there; waiting for phase 0, 1,
// 0 and so on is told by the parity. A wait for the phase before the first returns at once.
struct Barrier {
    u64 state;

    __device__ void init(u32 count)
    {
        asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(this)), "r"(count));
    }

    __device__ void wait(u32 parity)
    {
        u32 done;
        do {
            asm volatile("{\n"
                         ".reg .pred p;\n"
                         "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                         "selp.u32 %0, 1, 0, p;\n"
                         "}\n"
                         : "=r"(done)
                         : "r"(shared_address(this)), "r"(parity)
                         : "memory");
        } while (!done);
    }

    // Arrive, and announce bytes that copies will bring.
    __device__ void arrive_expecting(u32 bytes)
    {
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(this)), "r"(bytes)
                     : "memory");
    }

    // Arrive at the same barrier of another block of the cluster, or of this one.
    __device__ void arrive_at(u32 block)
    {
        asm volatile("{\n"
                     ".reg .b32 there;\n"
                     "mapa.shared::cluster.u32 there, %0, %1;\n"
                     "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
                     "}\n" ::"r"(shared_address(this)),
                     "r"(block)
                     : "memory");
    }
};

// Barriers that were initialized are so for the copy engine and the other blocks, too; before cluster_sync.
__device__ inline void publish_barriers()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ inline u32 block_in_cluster()
{
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

// ── Copies of boxes by the copy engine (TMA) ─────────────────────────────────────────────────────────────────────────

// From (x, y) of the matrix, x along its rows, into shared memory of every block of the cluster, at the same place, whose
// barrier there is told the bytes. What lies outside of the matrix comes as zeros.
template <int CLUSTER>
__device__ inline void load_box(void *to, const TensorMap &map, int2 at, Barrier &barrier)
{
    constexpr unsigned short all = (1 << CLUSTER) - 1;
    if constexpr (CLUSTER == 1)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                     "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                     "l"(&map), "r"(at.x), "r"(at.y), "r"(shared_address(&barrier))
                     : "memory");
    else
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                     ".multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared_address(to)),
                     "l"(&map), "r"(at.x), "r"(at.y), "r"(shared_address(&barrier)), "h"(all)
                     : "memory");
}

__device__ inline void prefetch(const TensorMap &map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// To (x, y); what lies outside of the matrix is not written.
__device__ inline void store_box(const TensorMap &map, int x, int y, const void *from)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];\n"
                 "cp.async.bulk.commit_group;" ::"l"(&map),
                 "r"(x), "r"(y), "r"(shared_address(from))
                 : "memory");
}

// Wait until at most PENDING of this thread's stores have yet to read shared memory.
template <int PENDING>
__device__ inline void stores_have_read()
{
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(PENDING) : "memory");
}

// What this thread wrote to shared memory is there for the copy engine, too.
__device__ inline void publish_to_copies()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ── Products by a warpgroup (wgmma): D (64 x N, float32, in registers) += A (64 x 16) B (16 x N), both in shared memory

// Where an operand lies, in the layout of boxes of 64 x 64 elements whose rows of 128 bytes are swizzled: 8 rows are a
// group, groups follow each other; `next` is the distance to the next 64 columns, where rows run along M or N.
__device__ inline u64 operand(const void *box, u32 next)
{
    const u64 group = 8 * 128, swizzle_128_bytes = 1;
    return (shared_address(box) & 0x3FFFF) >> 4 | u64(next >> 4) << 16 | (group >> 4) << 32 | swizzle_128_bytes << 62;
}

__device__ inline void products_begin()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ inline void products_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING>
__device__ inline void products_done()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

#define NAMES_64                                                                                                      \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                          \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_128                                                                                                     \
    NAMES_64 ", "                                                                                                     \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "                                \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "                                \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "                    \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define FLOATS_8(i)                                                                                                   \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),       \
        "+f"(d[i + 7])
#define FLOATS_32(i) FLOATS_8(i), FLOATS_8(i + 8), FLOATS_8(i + 16), FLOATS_8(i + 24)
#define FLOATS_64 FLOATS_32(0), FLOATS_32(32)
#define FLOATS_128 FLOATS_64, FLOATS_32(64), FLOATS_32(96)
#define WGMMA(OPERATION, NAMES, FLOATS, A, B, KEEP, A_RUNS, B_RUNS)                                                   \
    asm volatile("{\n"                                                                                                \
                 ".reg .pred keep;\n"                                                                                 \
                 "setp.ne.b32 keep, " KEEP ", 0;\n"                                                                   \
                 "wgmma.mma_async.sync.aligned." OPERATION " {" NAMES "}, " A ", " B ", keep, 1, 1, " A_RUNS ", " B_RUNS ";\n"\
                 "}\n"                                                                                                \
                 : FLOATS                                                                                             \
                 : "l"(a), "l"(b), "r"(int(keep)), "n"(int(A_ALONG_M)), "n"(int(B_ALONG_N)))

// d = a b, or d += a b to `keep` what is there. Of the 64 x N results, thread t holds rows t / 32 * 16 + t % 32 / 4 and
// that + 8, and of each 8 columns the two from t % 4 * 2: d[4 i] and d[4 i + 1] in the upper row, the next two below.
template <typename T, bool A_ALONG_M, bool B_ALONG_N, int FLOATS>
__device__ inline void multiply(float (&d)[FLOATS], u64 a, u64 b, bool keep)
{
    static_assert(FLOATS == 64 || FLOATS == 128, "N is 128 or 256");
    if constexpr (FLOATS == 128 && is_bf16<T>)
        WGMMA("m64n256k16.f32.bf16.bf16", NAMES_128, FLOATS_128, "%128", "%129", "%130", "%131", "%132");
    else if constexpr (FLOATS == 128)
        WGMMA("m64n256k16.f32.f16.f16", NAMES_128, FLOATS_128, "%128", "%129", "%130", "%131", "%132");
    else if constexpr (is_bf16<T>)
        WGMMA("m64n128k16.f32.bf16.bf16", NAMES_64, FLOATS_64, "%64", "%65", "%66", "%67", "%68");
    else
        WGMMA("m64n128k16.f32.f16.f16", NAMES_64, FLOATS_64, "%64", "%65", "%66", "%67", "%68");
}

// The accumulator may not be read before here; the compiler can't know.
template <int FLOATS>
__device__ inline void settle(float (&d)[FLOATS])
{
#pragma unroll
    for (int i = 0; i < FLOATS; ++i)
        asm volatile("" : "+f"(d[i])::"memory");
}

#undef WGMMA
#undef FLOATS_128
#undef FLOATS_64
#undef FLOATS_32
#undef FLOATS_8
#undef NAMES_128
#undef NAMES_64

// ── Kernels in one stream ────────────────────────────────────────────────────────────────────────────────────────────

// A kernel that was launched to overlap with those before it may not touch their data before this.
__device__ inline void wait_for_earlier_kernels()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

// The next kernel may take the room that this one leaves, and get ready.
__device__ inline void let_later_kernels_begin()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// ── Registers ────────────────────────────────────────────────────────────────────────────────────────────────────────

// A warpgroup gives registers back, or takes those that another one gave.
template <int COUNT>
__device__ inline void keep_registers()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
}

template <int COUNT>
__device__ inline void take_registers()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
}

// Four 8 x 8 matrices of 16-bit elements into shared memory: thread t has two elements of each, as in an accumulator,
// and the place of row t % 8 of matrix t / 8.
__device__ inline void store_matrices(void *row, u32 first, u32 second, u32 third, u32 fourth)
{
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
                 "r"(first), "r"(second), "r"(third), "r"(fourth)
                 : "memory");
}
