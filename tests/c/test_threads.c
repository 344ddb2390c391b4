/*
 * test_threads.c: one thread processes, another one changes every setting and reads the status as fast as it can. Built
 * with the thread sanitizer, which ends it at the first race (`.ci/check`).
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "edgeenhance.h"

enum { MICS = 2, BANDS = 4, BINS = 65, HOP = 32, HOPS = 20000, ARRAY = MICS * 2 * BINS };

static const float ceiling = 0.25f;
static const int16_t centers[BANDS] = {0, 9, 30, BINS - 1};

typedef struct {
    float weights[ARRAY], noise[ARRAY], sum[ARRAY], steering[ARRAY], ear[2 * BINS], turn[ARRAY], prior[MICS * MICS * BINS];
    ee_beam beam;
} tables;

static int wrong, done;
static ee_enhancer *enhancer;

static float random_sample(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

/* A beam whose tables are written here: a race, if the enhancer still reads them. */
static const ee_beam *fill(tables *t, float value)
{
    for (int i = 0; i < ARRAY; i++) t->weights[i] = t->noise[i] = t->sum[i] = t->turn[i] = t->steering[i] = value;
    for (int i = 0; i < 2 * BINS; i++) t->ear[i] = value;
    for (int i = 0; i < MICS * MICS * BINS; i++) t->prior[i] = i < BINS || i >= 3 * BINS ? 1.0f : 0.0f;
    t->beam.weights = t->weights, t->beam.noise = t->noise, t->beam.sum = t->sum, t->beam.steering = t->steering;
    t->beam.ear = t->ear, t->beam.turn = t->turn, t->beam.prior = t->prior;
    return &t->beam;
}

static int mask(void *user, const int16_t *features, int16_t *gains)
{
    (void)user;
    for (int b = 0; b < BANDS; b++) gains[b] = features[b] > 0 ? 32767 : 16384;
    return 0;
}

static void expect(const char *what, int truth)
{
    if (truth) return;
    printf("NOT OK: %s\n", what);
    wrong = 1;
}

/* One bad frame in every hop: the status has as many as hops, or it was torn. */
static void *process(void *unused)
{
    static float in[HOP * MICS], out[HOP * 2];
    uint32_t state = 1;
    int within = 1, code = EE_OK;
    for (int hop = 0; hop < HOPS; hop++) {
        for (int i = 0; i < HOP * MICS; i++) in[i] = random_sample(&state);
        in[hop % HOP * MICS] = NAN;
        code |= ee_enhancer_process(enhancer, in, out, HOP);
        for (int i = 0; i < HOP * 2; i++) within &= fabsf(out[i]) <= ceiling;
    }
    expect("every block is processed", code == EE_OK);
    expect("every sample is at most the ceiling", within);
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    return unused;
}

static void set_everything(void)
{
    static tables pair[2], other;
    uint32_t state = 2;
    uint64_t seen = 0;
    int beams = 0;
    ee_status status;
    fill(&other, 0.4f);
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
        expect("strength", !ee_enhancer_set_strength(enhancer, fabsf(random_sample(&state))));
        expect("cues", !ee_enhancer_set_cues(enhancer, fabsf(random_sample(&state))));
        expect("bypass", !ee_enhancer_set_bypass(enhancer, random_sample(&state) > 0.0f));
        if (!ee_enhancer_pending(enhancer)) { /* the one before is free again */
            expect("a beam", !ee_enhancer_set_beam(enhancer, &other.beam));
            expect("at once another", !ee_enhancer_set_beam(enhancer, fill(&pair[beams++ % 2], random_sample(&state))));
        }
        expect("status", !ee_enhancer_status(enhancer, &status));
        expect("the status is whole", status.bad_frames == status.hops && status.limited_hops <= status.hops);
        expect("hops go on", status.hops >= seen);
        seen = status.hops;
    }
    printf("%d beams set in %d hops\n", beams, HOPS);
    expect("many beams set", beams > HOPS / 100);
}

int main(void)
{
    static tables first;
    ee_config c = {0};
    pthread_t thread;
    void *memory;
    c.sample_rate = 16000, c.analysis = 128, c.synthesis = 2 * HOP, c.aligned = 1, c.mics = MICS, c.ears = 2;
    c.reference[1] = 1, c.bands = BANDS, c.centers = centers, c.beamformer = EE_BEAM_MVDR, c.prior_weight = 0.1f;
    c.noise_seconds = 0.4f, c.solve_hops = 8, c.steering_blend = 0.5f, c.look_steps = 2, c.mask = mask, c.ceiling = ceiling;
    size_t size = ee_enhancer_size(&c);
    if (posix_memalign(&memory, 16, size)) return 1;
    if (ee_enhancer_init(&enhancer, memory, size, &c, fill(&first, 0.5f))) return 1;
    if (pthread_create(&thread, NULL, process, NULL)) return 1;
    set_everything();
    pthread_join(thread, NULL);
    free(memory);
    printf(wrong ? "NOT OK\n" : "OK\n");
    return wrong;
}
