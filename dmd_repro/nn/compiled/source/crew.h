// Threads that work together, and memory of each one's own.
#pragma once
#include <immintrin.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <thread>
#include <vector>

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
