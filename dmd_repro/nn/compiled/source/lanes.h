// Sixteen float32 at a time, and the few operations on them that the kernels are made of. Needs AVX-512 F, BW, DQ, VL.
#pragma once
#include <immintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

typedef __m512 lanes;
constexpr int L = 16;
constexpr float LOG2E = 1.4426950408889634f;

static inline int up(int n) { return (n + L - 1) / L * L; }  // to whole vectors
static inline lanes all(float x) { return _mm512_set1_ps(x); }
static inline lanes load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, lanes x) { _mm512_storeu_ps(p, x); }
static inline lanes fma(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
static inline lanes zero() { return _mm512_setzero_ps(); }
static inline lanes plus(lanes a, lanes b) { return _mm512_add_ps(a, b); }
static inline lanes minus(lanes a, lanes b) { return _mm512_sub_ps(a, b); }
static inline lanes times(lanes a, lanes b) { return _mm512_mul_ps(a, b); }
static inline lanes over(lanes a, lanes b) { return _mm512_div_ps(a, b); }
// The second where one of the two is no number.
static inline lanes larger(lanes a, lanes b) { return _mm512_max_ps(a, b); }
static inline float most_of(lanes x) { return _mm512_reduce_max_ps(x); }
static inline float sum_of(lanes x) { return _mm512_reduce_add_ps(x); }

typedef __mmask16 Which;  // a bit for each lane
// Where there is no bit: 0; what stands in `other`; nothing is read.
static inline lanes pick(Which m, lanes x) { return _mm512_maskz_mov_ps(m, x); }
static inline lanes choose(Which m, lanes x, lanes other) { return _mm512_mask_mov_ps(other, m, x); }
static inline lanes load_some(Which m, const float* p) { return _mm512_maskz_loadu_ps(m, p); }

typedef __m512i Ints;
static inline Ints all_ints(int32_t x) { return _mm512_set1_epi32(x); }
static inline Ints all_shorts(int16_t x) { return _mm512_set1_epi16(x); }
static inline Ints load_ints(const void* p) { return _mm512_loadu_si512(p); }
// Words of which a bit is set.
static inline Which with_bit(Ints x, uint32_t bit) { return _mm512_test_epi32_mask(x, _mm512_set1_epi32((int)bit)); }

// 2^x to about an ulp: the fraction by a polynomial on [0, 1), the whole part put into the exponent. -inf gives 0.
static inline lanes exp2_of(lanes x) {
    x = _mm512_max_ps(all(-200.0f), x);  // a fraction of -inf is none; in this order a NaN stays
    const lanes f = _mm512_reduce_ps(x, 0x09);  // x - floor(x)
    lanes p = all(1.867130087e-3f);
    p = fma(p, f, all(9.017030275e-3f));
    p = fma(p, f, all(5.579991315e-2f));
    p = fma(p, f, all(2.401644501e-1f));
    p = fma(p, f, all(6.931513118e-1f));
    p = fma(p, f, all(1.0f));
    return _mm512_scalef_ps(p, x);
}

template <int N>
static inline void exp2_of(lanes* x) {
    lanes f[N], p[N];
    for (int i = 0; i < N; i++) f[i] = _mm512_reduce_ps(x[i], 0x09);
    const float a[6] = {1.867130087e-3f, 9.017030275e-3f, 5.579991315e-2f, 2.401644501e-1f, 6.931513118e-1f, 1.0f};
    for (int i = 0; i < N; i++) p[i] = fma(all(a[0]), f[i], all(a[1]));
    for (int t = 2; t < 6; t++)
        for (int i = 0; i < N; i++) p[i] = fma(p[i], f[i], all(a[t]));
    for (int i = 0; i < N; i++) x[i] = _mm512_scalef_ps(p[i], x[i]);
}

// Lane i of the result is the sum of vector i.
static inline lanes sums(const lanes* v) {
    lanes a[8], b[4], c[2];
    for (int i = 0; i < 8; i++)
        a[i] = _mm512_add_ps(_mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 4; i++) {
        const __m512d x = _mm512_castps_pd(a[2 * i]), y = _mm512_castps_pd(a[2 * i + 1]);
        b[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
    }
    for (int i = 0; i < 2; i++)
        c[i] = _mm512_add_ps(_mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(b[2 * i], b[2 * i + 1], 0xdd));
    return _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
}

// Turn 16 rows of 16 (at `from`, one behind the other) into columns.
static inline void turn(const float* from, ptrdiff_t step, float* to, ptrdiff_t to_step) {
    lanes r[16], t[16];
    for (int i = 0; i < 16; i++) r[i] = load(from + i * step);
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        const int a = 4 * i;
        r[a] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[a]), _mm512_castps_pd(t[a + 2])));
        r[a + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[a]), _mm512_castps_pd(t[a + 2])));
        r[a + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[a + 1]), _mm512_castps_pd(t[a + 3])));
        r[a + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[a + 1]), _mm512_castps_pd(t[a + 3])));
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        store(to + i * to_step, _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88));
        store(to + (i + 8) * to_step, _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd));
    }
}

// (rows, columns) with `step` between rows -> (columns, rows), `to_step` between rows, filled with 0 up to `fill`.
static inline void transpose(const float* from, ptrdiff_t step, int rows, int columns, float* to, ptrdiff_t to_step,
                             int fill) {
    alignas(64) float block[L * L], turned[L * L];
    for (int i = 0; i < fill; i += L)
        for (int j = 0; j < columns; j += L) {
            const int n = rows - i < L ? (rows - i > 0 ? rows - i : 0) : L, m = columns - j < L ? columns - j : L;
            if (n == L && m == L) {
                turn(from + i * step + j, step, to + j * to_step + i, to_step);
                continue;
            }
            const __mmask16 some = (__mmask16)((1u << m) - 1);
            for (int r = 0; r < L; r++)
                store(block + r * L, r < n ? _mm512_maskz_loadu_ps(some, from + (i + r) * step + j) : zero());
            turn(block, L, turned, L);
            const __mmask16 keep = fill - i >= L ? (__mmask16)0xffff : (__mmask16)((1u << (fill - i)) - 1);
            for (int c = 0; c < m; c++) _mm512_mask_storeu_ps(to + (j + c) * to_step + i, keep, load(turned + c * L));
        }
}

// Memory of a thread's own, on whole cache lines.
struct Room {
    float* at;
    explicit Room(size_t floats) : at((float*)std::aligned_alloc(64, (floats * 4 + 63) / 64 * 64 + 64)) {}
    ~Room() { std::free(at); }
    Room(const Room&) = delete;
    Room& operator=(const Room&) = delete;
};

// How torch's OpenMP starts a team, and how many it has; null: threads of our own. Torch's threads spin for a while after
// each region of its operators: others beside them would wait for a core that only burns time.
struct Team {
    void (*start)(void (*)(void*), void*, unsigned, unsigned) = nullptr;
    int (*count)() = nullptr;
};
static Team team;

// Some threads that do pieces of work together, phase after phase. Every piece writes to places of its own and no sum
// is split among them, so any number of threads gives equal bits.
class Crew {
    std::atomic<int> threads;
    std::atomic<int> next{0}, arrived{0}, phase{0};

    void wait() {
        const int now = phase.load(std::memory_order_acquire);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) == threads.load(std::memory_order_relaxed) - 1) {
            arrived.store(0, std::memory_order_relaxed);
            next.store(0, std::memory_order_relaxed);
            phase.store(now + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; phase.load(std::memory_order_acquire) == now; spins++)
            if (spins < 2000) _mm_pause();
            else std::this_thread::yield();
    }

   public:
    explicit Crew(int n) : threads(n < 1 ? 1 : n) {}

    // Called by every member with the same count: pieces 0 to count - 1, each done by one; all are done on return.
    template <class Piece>
    void each(int count, Piece piece) {
        if (threads.load(std::memory_order_relaxed) == 1) {
            for (int i = 0; i < count; i++) piece(i);
            return;
        }
        for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) piece(i);
        wait();
    }

    // Let every member do the same work, whose phases are its calls of `each`.
    template <class Work>
    static void run(int64_t threads, Work work) {
        Crew crew((int)threads);
        if (threads <= 1) return work(crew);
        if (team.start) {
            struct Shared {
                Work& work;
                Crew& crew;
            } shared{work, crew};
            team.start(
                [](void* at) {
                    Shared& shared = *(Shared*)at;
                    shared.crew.threads.store(team.count(), std::memory_order_relaxed);  // a limit may allow fewer
                    shared.work(shared.crew);
                },
                &shared, (unsigned)threads, 0);
            return;
        }
        std::vector<std::thread> others;
        for (int i = 1; i < threads; i++) others.emplace_back([&] { work(crew); });
        work(crew);
        for (auto& one : others) one.join();
    }
};
