/*
 * test_live.c: the sound card's callback and a thread that reads what it leaves, with blocks of odd sizes, bad samples
 * and an enhancer that fails. Built with the address and undefined-behaviour sanitizers: every state has exactly its
 * size; and with the thread sanitizer (.ci/check).
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/host/live.h"

enum { BANDS = 4, BINS = 65, INPUTS = 3, OUTPUTS = 2, MOST = 100, CALLBACKS = 4000, RING = 1024 };

static const float ceiling = 0.25f;
static const int16_t centers[BANDS] = {0, 9, 30, BINS - 1};
static int wrong, hops, done;
static ee_live *live;

static void expect(const char *what, int truth)
{
    if (truth) return;
    printf("NOT OK: %s\n", what);
    wrong = 1;
}

static void *kept[32];
static int keeps;

static void *memory_of(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 16, bytes ? bytes : 1)) abort();
    return kept[keeps++] = memory;
}

static int mask(void *user, const int16_t *features, int16_t *gains)
{
    (void)user;
    for (int b = 0; b < BANDS; b++) gains[b] = features[b] > 0 ? 32767 : 16384;
    return ++hops == 500; /* fails once */
}

static ee_enhancer *new_enhancer(void)
{
    static float weights[2 * BINS];
    for (int f = 0; f < BINS; f++) weights[f] = 1.0f;
    ee_beam beam = {0};
    beam.weights = weights;
    ee_config c = {0};
    c.sample_rate = 16000, c.analysis = 128, c.synthesis = 64, c.mics = c.ears = 1, c.strength = 1.0f;
    c.bands = BANDS, c.centers = centers, c.beamformer = EE_BEAM_FIXED, c.mask = mask;
    ee_enhancer *e = NULL;
    size_t bytes = ee_enhancer_size(&c);
    expect("there is an enhancer", !ee_enhancer_init(&e, memory_of(bytes), bytes, &c, &beam));
    return e;
}

static ee_resample *new_resampler(int from, int to)
{
    ee_resample *r = NULL;
    size_t bytes = ee_resample_size(from, to, 1, 0);
    expect("there is a resampler", !ee_resample_init(&r, memory_of(bytes), bytes, from, to, 1, 0));
    return r;
}

static void begin(int rate)
{
    ee_live_config c = {0};
    c.enhancer = new_enhancer();
    if (rate != 16000) c.to_enhancer = new_resampler(rate, 16000), c.to_card = new_resampler(16000, rate);
    c.sample_rate = rate, c.mics = c.ears = 1, c.inputs = INPUTS, c.outputs = OUTPUTS, c.channel[0] = INPUTS - 1;
    c.delay = rate / 100, c.most = MOST, c.warm = 300, c.ceiling = ceiling, c.speech_target = 0.01f, c.start_seconds = 0.1f;
    c.record_frames = RING;
    size_t bytes = ee_live_size(&c);
    expect("there is a stream", !ee_live_init(&live, memory_of(bytes), bytes, &c));
    c.record_frames = RING + 1;
    expect("a ring is a power of two", ee_live_size(&c) == 0);
    c.record_frames = 0, c.channel[0] = INPUTS;
    expect("the card has that channel", ee_live_size(&c) == 0);
}

static void *sound(void *unused)
{
    static float in[3 * MOST * INPUTS], out[3 * MOST * OUTPUTS];
    uint32_t state = 1;
    int within = 1;
    for (int i = 0; i < CALLBACKS; i++) {
        unsigned long n = state % (3 * MOST); /* more than agreed, too, and none */
        for (unsigned long k = 0; k < n * INPUTS; k++) {
            state = state * 1664525u + 1013904223u;
            in[k] = (float)(int32_t)state / 2147483648.0f;
        }
        if (n) in[n * INPUTS - 1] = i % 3 ? 0.5f : NAN;
        state = state * 1664525u + 1013904223u;
        ee_live_callback(in, out, n, NULL, i % 2 ? 2UL : 16UL, live);
        for (unsigned long k = 0; k < n * OUTPUTS; k++) within &= fabsf(out[k]) <= ceiling;
    }
    expect("no sample is above the ceiling", within);
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    return unused;
}

/* What is recorded, lost or still in the ring is all there was. */
static void read_along(void)
{
    static float mics[RING], ears[RING];
    ee_live_status status = {0};
    uint32_t taken = 0;
    int fine = 1, finished;
    do {
        finished = __atomic_load_n(&done, __ATOMIC_ACQUIRE);
        ee_live_get_status(live, &status);
        for (uint32_t b = status.blocks > 100 ? status.blocks - 100 : 0; b < status.blocks; b++)
            fine &= ee_live_blocks(live)[b % EE_LIVE_BLOCKS].out <= ceiling * ceiling;
        int n = ee_live_take(live, mics, ears, RING - 7);
        for (int i = 0; i < n; i++) fine &= fabsf(mics[i]) <= 1.0f && fabsf(ears[i]) <= ceiling;
        taken += (uint32_t)n;
    } while (!finished);
    while (1) {
        int n = ee_live_take(live, mics, ears, 1);
        if (!n) break;
        taken += (uint32_t)n;
    }
    expect("what was read is sound", fine);
    expect("nothing is recorded twice", taken == status.recorded);
    expect("underruns, the failure and the bad samples are counted",
           status.xruns == CALLBACKS / 2 && status.faults >= 1 && status.bad_frames > CALLBACKS / 4);
}

int main(void)
{
    static const int rates[] = {16000, 48000, 44100, 8000, 192000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        pthread_t thread;
        hops = done = 0;
        begin(rates[i]);
        if (pthread_create(&thread, NULL, sound, NULL)) abort();
        read_along();
        pthread_join(thread, NULL);
        while (keeps) free(kept[--keeps]);
    }
    puts(wrong ? "NOT OK" : "OK");
    return wrong;
}
