/*
 * test_memory.c: after init nothing allocates. The program's own malloc and its relatives count, so that calls inside the
 * C library are seen, too; every beamformer, network, setter and the resampler run between two counts. (glibc.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/internal.h"
#include "small_nets.h"

enum { MICS = 3, BANDS = 8, BINS = 257, FRAMES = 4000, BLOCK = 100 };

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static unsigned long allocations;
static int failures;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    allocations++;
    return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL;
}

static void *block(size_t size)
{
    void *memory = NULL;
    if (!size || posix_memalign(&memory, EE_ALIGN, size)) abort();
    return memory;
}

/* Calls `work` and says whether it allocated. */
static void judge(const char *what, int (*work)(void *), void *state)
{
    unsigned long before = allocations;
    int code = work(state);
    if (code == EE_OK && allocations == before) return;
    printf("NOT OK %s: %s, %lu allocations\n", what, ee_strerror(code), allocations - before);
    failures++;
}

static float random_sample(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * (0.1f / 2147483648.0f);
}

/* ---- the enhancer ---- */

static float ones[MICS * 2 * BINS], ear[2 * BINS], turn[MICS * 2 * BINS], prior[MICS * MICS * BINS];
static const int16_t centers[BANDS] = {0, 4, 9, 20, 45, 90, 160, 256};

static ee_beam make_beam(void)
{
    for (int f = 0; f < BINS; f++) {
        for (int m = 0; m < MICS; m++) {
            ones[2 * m * BINS + f] = 1.0f / MICS;
            turn[2 * m * BINS + f] = 1.0f;
            prior[(m * m + 2 * m) * BINS + f] = 1.0f;
        }
        ear[f] = 1.0f;
    }
    ee_beam beam = {ones, ones, ones, ones, ear, turn, prior};
    return beam;
}

static int mask(void *user, const int16_t *features, int16_t *gains)
{
    (void)user;
    for (int b = 0; b < BANDS; b++) gains[b] = features[b] > 0 ? 32767 : 8192;
    return 0;
}

/* Noise, silence, bad samples, a dead microphone; every setter on the way. */
static int run_enhancer(void *state)
{
    static float in[FRAMES * MICS], out[FRAMES * 2];
    ee_enhancer *e = state;
    static ee_beam beam;
    ee_status status;
    int code = EE_OK;
    beam = make_beam();
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = i % MICS == 1 && i > FRAMES ? 0.0f : random_sample();
    memset(in, 0, 500 * sizeof(float));
    in[1000] = 3e38f;
    for (int at = 0; at < FRAMES; at += BLOCK) {
        float knob = (float)at / FRAMES;
        int codes[] = {ee_enhancer_process(e, in + at * MICS, out + at * 2, BLOCK), ee_enhancer_set_strength(e, knob),
                       ee_enhancer_set_cues(e, knob), ee_enhancer_set_bypass(e, at / 1000 % 2),
                       at % 1000 ? EE_OK : ee_enhancer_set_beam(e, &beam), ee_enhancer_status(e, &status)};
        for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) code = codes[i] ? codes[i] : code;
    }
    return code ? code : ee_enhancer_reset(e);
}

static void test_enhancer(int beamformer, int look_steps, ee_mask_fn mask_fn)
{
    ee_config c = {0};
    ee_beam beam = make_beam();
    ee_enhancer *e = NULL;
    c.sample_rate = 16000, c.analysis = 512, c.synthesis = 128, c.mics = MICS, c.ears = 2, c.reference[1] = 2;
    c.bands = BANDS, c.centers = centers, c.beamformer = beamformer, c.prior_weight = 0.1f, c.noise_seconds = 0.4f;
    c.solve_hops = 8, c.steering_blend = 0.5f, c.look_steps = look_steps, c.strength = 1.0f, c.mask = mask_fn;
    c.ceiling = 0.1f; /* the limiter works */
    void *memory = block(ee_enhancer_size(&c));
    if (ee_enhancer_init(&e, memory, ee_enhancer_size(&c), &c, &beam)) abort();
    judge(beamformer == EE_BEAM_MVDR ? "MVDR" : "fixed beam", run_enhancer, e);
    free(memory);
}

/* ---- networks and the resampler ---- */

static int run_net(void *net)
{
    int16_t features[EE_SIGNALS * EE_MAX_BANDS], gains[EE_MAX_BANDS];
    int code = EE_OK;
    for (int h = 0; h < 50; h++) {
        for (int i = 0; i < EE_SIGNALS * EE_MAX_BANDS; i++) features[i] = (int16_t)(random_sample() * 300000.0f);
        code = ee_net_step(net, features, gains);
        if (code) return code;
    }
    ee_net_reset(net);
    return code;
}

static void test_networks(void)
{
    for (int n = 0; n < SMALL_NETS; n++)
        for (int vectors = 0; vectors < 2; vectors++) {
            ee_net *net = NULL;
            size_t size = ee_net_size(small_nets[n].program, small_nets[n].bytes);
            void *memory = block(size);
            if (ee_net_init(&net, memory, size, small_nets[n].program, small_nets[n].bytes)) abort();
            ee_net_vectorize(net, vectors);
            judge("network", run_net, net);
            free(memory);
        }
}

static int run_resample(void *resample)
{
    static float in[BLOCK * 2], out[BLOCK * 2 * 4];
    int code = EE_OK;
    for (int at = 0; at < FRAMES; at += BLOCK) {
        for (int i = 0; i < BLOCK * 2; i++) in[i] = random_sample();
        code = ee_resample_process(resample, in, out, BLOCK);
        if (code) return code;
    }
    ee_resample_reset(resample);
    return code;
}

static void test_resampler(int rate_in, int rate_out)
{
    size_t size = ee_resample_size(rate_in, rate_out, 2, 0);
    void *memory = block(size);
    ee_resample *r = NULL;
    if (ee_resample_init(&r, memory, size, rate_in, rate_out, 2, 0)) abort();
    judge("resampler", run_resample, r);
    free(memory);
}

static void test_counter(void)
{
    unsigned long before = allocations;
    void *volatile memory = malloc(10);
    free(memory);
    if (allocations == before) failures++, printf("NOT OK: malloc is not counted\n");
}

int main(void)
{
    test_counter();
    for (int beamformer = EE_BEAM_FIXED; beamformer <= EE_BEAM_MVDR; beamformer++) {
        test_enhancer(beamformer, 0, NULL);
        test_enhancer(beamformer, 2, mask);
    }
    test_networks();
    test_resampler(48000, 16000);
    test_resampler(16000, 44100);
    printf(failures ? "NOT OK: %d failures\n" : "OK\n", failures);
    return failures != 0;
}
