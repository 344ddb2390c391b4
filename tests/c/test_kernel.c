/*
 * test_kernel.c: the kernel on its own, as a C user has it. Built with the address and undefined-behaviour sanitizers:
 * every state lives in a block of exactly the size that was asked for, so a byte too far is found.
 */
#define _POSIX_C_SOURCE 200112L /* posix_memalign: malloc aligns to 8 bytes on 32-bit machines */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/internal.h"

static int failures;

#define CHECK(what, truth)                                                        \
    do {                                                                          \
        if (!(truth)) {                                                           \
            printf("NOT OK %s (%s:%d: %s)\n", what, __FILE__, __LINE__, #truth);  \
            failures++;                                                           \
        }                                                                         \
    } while (0)

enum { MICS = 3, BANDS = 8, LOW = 512, BINS = LOW / 2 + 1, FRAMES = 16000 };

static const int16_t centers[BANDS] = {0, 4, 9, 20, 45, 90, 160, 256};
static float weights[MICS * 2 * BINS], noise[MICS * 2 * BINS], steering[MICS * 2 * BINS], ear[2 * BINS];
static float turn[MICS * 2 * BINS], prior[MICS * MICS * BINS];

static float random_sample(void)
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * (0.1f / 2147483648.0f);
}

static void make_tables(void)
{
    for (int f = 0; f < BINS; f++) {
        for (int m = 0; m < MICS; m++) {
            weights[2 * m * BINS + f] = 1.0f / MICS;
            steering[2 * m * BINS + f] = 1.0f;
            turn[2 * m * BINS + f] = m ? 0.8f : 1.0f;
            turn[(2 * m + 1) * BINS + f] = m ? 0.6f : 0.0f;
            prior[(m * m + 2 * m) * BINS + f] = 1.0f;
        }
        noise[f] = 0.5f;
        noise[2 * BINS + f] = -0.5f;
        ear[f] = 0.8f;
    }
}

static ee_beam all_tables(void)
{
    ee_beam beam = {weights, noise, weights, steering, ear, turn, prior};
    return beam;
}

static ee_config good_config(int beamformer, ee_mask_fn mask)
{
    ee_config c = {0};
    c.sample_rate = 16000;
    c.analysis = LOW;
    c.synthesis = 128;
    c.mics = MICS;
    c.ears = 2;
    c.reference[1] = 2;
    c.bands = BANDS;
    c.centers = centers;
    c.beamformer = beamformer;
    c.prior_weight = 0.1f;
    c.noise_seconds = 0.4f;
    c.solve_hops = 8;
    c.steering_blend = 0.5f;
    c.look_steps = 2;
    c.strength = 1.0f;
    c.mask = mask;
    return c;
}

static int half_mask(void *user, const int16_t *features, int16_t *gains)
{
    ++*(int *)user;
    for (int b = 0; b < BANDS; b++) gains[b] = features[b] > 0 ? 32767 : 16384;
    return 0;
}

static int failing_mask(void *user, const int16_t *features, int16_t *gains)
{
    (void)user, (void)features, (void)gains;
    return 1;
}

static void *must(void *memory)
{
    if (!memory) abort();
    return memory;
}

/* A block of exactly `size` bytes, aligned as states want it. */
static void *block(size_t size)
{
    void *memory = NULL;
    return must(posix_memalign(&memory, 16, size) ? NULL : memory);
}

static ee_enhancer *make_enhancer(const ee_config *config, void **memory)
{
    size_t size = ee_enhancer_size(config);
    ee_beam beam = all_tables();
    ee_enhancer *enhancer = NULL;
    *memory = block(size);
    CHECK("enhancer starts", ee_enhancer_init(&enhancer, *memory, size, config, &beam) == EE_OK);
    return enhancer;
}

static void test_fft(void)
{
    for (int n = EE_MIN_FFT; n <= EE_MAX_FFT; n *= 2) {
        size_t size = ee_fft_size(n);
        void *memory = block(size);
        float *x = must(malloc((size_t)n * sizeof(float))), *y = must(malloc((size_t)n * sizeof(float)));
        float *X = must(malloc((size_t)(n + 2) * sizeof(float)));
        ee_fft *fft = NULL;
        CHECK("fft starts", ee_fft_init(&fft, memory, size, n) == EE_OK);
        double wanted = 0.0, energy = 0.0, worst = 0.0;
        for (int i = 0; i < n; i++) {
            x[i] = random_sample();
            wanted += (double)x[i] * (double)x[i];
        }
        ee_fft_forward(fft, x, X);
        for (int k = 0; k <= n / 2; k++) {
            double power = (double)X[k] * (double)X[k] + (double)X[n / 2 + 1 + k] * (double)X[n / 2 + 1 + k];
            energy += power * (k == 0 || k == n / 2 ? 1.0 : 2.0) / n;
        }
        CHECK("Parseval holds", fabs(energy / wanted - 1.0) < 1e-6);
        ee_fft_inverse(fft, X, y);
        for (int i = 0; i < n; i++) worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
        CHECK("inverse undoes forward", worst < 1e-6);
        free(memory), free(x), free(y), free(X);
    }
    CHECK("odd lengths are refused", ee_fft_size(100) == 0 && ee_fft_size(16) == 0 && ee_fft_size(4096) == 0);
}

static void test_fft_gives_the_same_bits_with_and_without_vectors(int n)
{
    float x[EE_MAX_FFT], X[EE_MAX_FFT + 2], plain[EE_MAX_FFT + 2], y[EE_MAX_FFT], back[EE_MAX_FFT], tail[EE_MAX_FFT];
    size_t size = ee_fft_size(n);
    void *memory = block(size);
    ee_fft *fft = NULL;
    CHECK("fft starts", ee_fft_init(&fft, memory, size, n) == EE_OK);
    for (int i = 0; i < n; i++) x[i] = random_sample();
    for (int width = 1; width <= 8; width += width == 1 ? 3 : 4) {
        ee_fft_vectorize(fft, width);
        ee_fft_forward(fft, x, X);
        ee_fft_inverse(fft, X, y);
        ee_fft_inverse_tail(fft, X, tail);
        if (width == 1) memcpy(plain, X, sizeof X), memcpy(back, y, sizeof y);
        CHECK("forward", memcmp(X, plain, (size_t)(n + 2) * sizeof(float)) == 0);
        CHECK("inverse", memcmp(y, back, (size_t)n * sizeof(float)) == 0);
        CHECK("its last quarter", memcmp(tail + n / 4 * 3, back + n / 4 * 3, (size_t)n / 4 * sizeof(float)) == 0);
    }
    free(memory);
}

static void test_memory_and_configuration(void)
{
    ee_config config = good_config(EE_BEAM_MVDR, NULL), bad;
    size_t size = ee_enhancer_size(&config);
    char *memory = block(size + 16);
    ee_beam beam = all_tables();
    ee_enhancer *enhancer = NULL;
    CHECK("too little memory", ee_enhancer_init(&enhancer, memory, size - 1, &config, &beam) == EE_ERR_MEMORY);
    CHECK("unaligned memory", ee_enhancer_init(&enhancer, memory + 4, size + 12, &config, &beam) == EE_ERR_MEMORY);
    CHECK("no memory", ee_enhancer_init(&enhancer, NULL, size, &config, &beam) == EE_ERR_NULL);
    beam.steering = NULL;
    CHECK("MVDR needs steering", ee_enhancer_init(&enhancer, memory, size, &config, &beam) == EE_ERR_CONFIG);
    beam = all_tables();
    beam.turn = NULL;
    CHECK("tracking needs turns", ee_enhancer_init(&enhancer, memory, size, &config, &beam) == EE_ERR_CONFIG);
    CHECK("nothing was made", enhancer == NULL);
#define REFUSED(change) (bad = config, bad.change, ee_enhancer_size(&bad) == 0)
    CHECK("0 microphones", REFUSED(mics = 0));
    CHECK("17 microphones", REFUSED(mics = 17));
    CHECK("3 ears", REFUSED(ears = 3));
    CHECK("reference outside", REFUSED(reference[1] = MICS));
    CHECK("odd window", REFUSED(analysis = 500));
    CHECK("synthesis above analysis", REFUSED(synthesis = 1024));
    CHECK("1 band", REFUSED(bands = 1));
    CHECK("no centres", REFUSED(centers = NULL));
    CHECK("strength NaN", REFUSED(strength = NAN));
    CHECK("cues above 1", REFUSED(cues = 1.5f));
    CHECK("ceiling below 0", REFUSED(ceiling = -1.0f));
    CHECK("ceiling NaN", REFUSED(ceiling = NAN));
    CHECK("no prior weight", REFUSED(prior_weight = 0.0f));
    CHECK("no solving", REFUSED(solve_hops = 0));
    CHECK("blend above 1", REFUSED(steering_blend = 1.1f));
    CHECK("too many look steps", REFUSED(look_steps = EE_MAX_LOOK_STEPS + 1));
    CHECK("unknown beamformer", REFUSED(beamformer = 7));
    CHECK("no configuration", ee_enhancer_size(NULL) == 0);
    beam = all_tables();
    config.solve_hops = INT_MAX; /* the least that can be asked for: a bin per hop */
    CHECK("solving rarely", ee_enhancer_init(&enhancer, memory, size, &config, &beam) == EE_OK);
    for (int hop = 0; hop < 4; hop++) {
        static float in[64 * MICS], out[64 * 2];
        for (int i = 0; i < 64 * MICS; i++) in[i] = random_sample();
        CHECK("a hop", ee_enhancer_process(enhancer, in, out, 64) == EE_OK);
    }
    for (int code = 0; code >= EE_ERR_MASK; code--) CHECK("errors have words", strlen(ee_strerror(code)) > 5);
    free(memory);
}

static void test_any_block_size_gives_the_same_samples(int beamformer)
{
    static float in[FRAMES * MICS], whole[FRAMES * 2], parts[FRAMES * 2];
    int calls[2] = {0, 0};
    void *memory[2];
    ee_enhancer *e[2];
    for (int i = 0; i < 2; i++) {
        ee_config config = good_config(beamformer, half_mask);
        config.mask_user = &calls[i];
        e[i] = make_enhancer(&config, &memory[i]);
    }
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = random_sample();
    CHECK("one block", ee_enhancer_process(e[0], in, whole, FRAMES) == EE_OK);
    for (size_t at = 0, n = 0; at < FRAMES; at += n) {
        n = (size_t)(fabsf(random_sample()) * 3000.0f);
        n = n < FRAMES - at ? n : FRAMES - at;
        CHECK("a block", ee_enhancer_process(e[1], in + at * MICS, parts + at * 2, n) == EE_OK);
    }
    CHECK("the same samples", memcmp(whole, parts, sizeof whole) == 0);
    CHECK("one mask call per hop", calls[0] == FRAMES / 64 && calls[1] == calls[0]);
    free(memory[0]), free(memory[1]);
}

static void test_bad_input(int beamformer)
{
    static float in[FRAMES * MICS], out[FRAMES * 2];
    ee_config config = good_config(beamformer, NULL);
    ee_status status;
    void *memory;
    ee_enhancer *e = make_enhancer(&config, &memory);
    const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-42f, 0.0f, 1.0f};
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = i % 7 ? random_sample() : bad[i / 7 % 7];
    CHECK("bad samples pass", ee_enhancer_process(e, in, out, FRAMES) == EE_OK);
    for (int i = 0; i < FRAMES * 2; i++) CHECK("output is finite", isfinite(out[i]));
    CHECK("status", ee_enhancer_status(e, &status) == EE_OK && status.bad_frames > 1000 && status.hops == FRAMES / 64);
    CHECK("no input", ee_enhancer_process(e, NULL, out, 1) == EE_ERR_NULL);
    CHECK("nothing to do", ee_enhancer_process(e, NULL, NULL, 0) == EE_OK);
    CHECK("strength out of range", ee_enhancer_set_strength(e, 2.0f) == EE_ERR_CONFIG);
    CHECK("cues out of range", ee_enhancer_set_cues(e, NAN) == EE_ERR_CONFIG);
    CHECK("no beam", ee_enhancer_set_beam(e, NULL) == EE_ERR_CONFIG && !ee_enhancer_pending(e));
    CHECK("no enhancer", ee_enhancer_set_bypass(NULL, 1) == EE_ERR_NULL && !ee_enhancer_pending(NULL));
    CHECK("reset", ee_enhancer_reset(e) == EE_OK && ee_enhancer_reset(NULL) == EE_ERR_NULL);
    free(memory);
}

static void test_failing_mask_and_aligned_blocks(void)
{
    static float in[FRAMES * MICS], out[FRAMES * 2];
    ee_config config = good_config(EE_BEAM_FIXED, failing_mask);
    ee_status status;
    void *memory;
    config.aligned = 1;
    ee_enhancer *e = make_enhancer(&config, &memory);
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = random_sample();
    CHECK("latency", ee_enhancer_latency(e) == 64);
    CHECK("part of a hop", ee_enhancer_process(e, in, out, 65) == EE_ERR_FRAMES);
    CHECK("the failure is told", ee_enhancer_process(e, in, out, 6400) == EE_ERR_MASK);
    CHECK("and counted", ee_enhancer_status(e, &status) == EE_OK && status.mask_failures == 100);
    CHECK("on the beam alone", status.gain == 1.0f);
    free(memory);
}

static void test_bypass_and_ceiling(int beamformer)
{
    enum { LATE = 128, FADE = 16 * 64 };
    static float in[FRAMES * MICS], out[FRAMES * 2];
    ee_config config = good_config(beamformer, NULL);
    ee_beam beam = all_tables();
    ee_status status;
    void *memory;
    config.ceiling = 0.09f;
    ee_enhancer *e = make_enhancer(&config, &memory);
    for (int i = 0; i < FRAMES * MICS; i++) in[i] = random_sample() * (i < FRAMES * MICS / 2 ? 0.89f : 1.0f); /* 0.1 at most */
    CHECK("bypass", ee_enhancer_set_bypass(e, 1) == EE_OK && ee_enhancer_set_beam(e, &beam) == EE_OK);
    CHECK("to come", ee_enhancer_pending(e) == 1);
    CHECK("a block", ee_enhancer_process(e, in, out, FRAMES / 2) == EE_OK && ee_enhancer_pending(e) == 0);
    for (int k = LATE + FADE; k < FRAMES / 2; k++)
        for (int ear = 0; ear < 2; ear++)
            CHECK("the input, delayed", out[2 * k + ear] == in[(k - LATE) * MICS + config.reference[ear]]);
    CHECK("nothing to limit", ee_enhancer_status(e, &status) == EE_OK && status.limited_hops == 0);
    CHECK("a louder one", ee_enhancer_process(e, in + FRAMES / 2 * MICS, out, FRAMES / 2) == EE_OK);
    for (int i = 0; i < FRAMES; i++) CHECK("below the ceiling", fabsf(out[i]) <= config.ceiling);
    CHECK("limited", ee_enhancer_status(e, &status) == EE_OK && status.limited_hops > 100 && status.limiter_gain < 1.0f);
    free(memory);
}

static ee_resample *make_resample(int rate_in, int rate_out, int channels, void **memory)
{
    size_t size = ee_resample_size(rate_in, rate_out, channels, 0);
    ee_resample *r = NULL;
    *memory = block(size);
    CHECK("resampler starts", ee_resample_init(&r, *memory, size, rate_in, rate_out, channels, 0) == EE_OK);
    return r;
}

static void test_resampler_gives_the_same_samples_in_any_blocks(int rate_in, int rate_out, int channels)
{
    enum { IN = 3000 };
    size_t wanted = ((size_t)IN * (size_t)rate_out + (size_t)rate_in - 1) / (size_t)rate_in;
    size_t values = wanted * (size_t)channels, made = 0;
    float *in = must(malloc((size_t)IN * (size_t)channels * sizeof(float)));
    float *whole = must(malloc(values * sizeof(float))), *parts = must(malloc(values * sizeof(float)));
    void *memory;
    ee_resample *r = make_resample(rate_in, rate_out, channels, &memory);
    for (int i = 0; i < IN * channels; i++) in[i] = random_sample();
    CHECK("the number stated", ee_resample_frames(r, IN) == wanted);
    CHECK("one block", ee_resample_process(r, in, whole, IN) == EE_OK);
    ee_resample_reset(r);
    for (size_t at = 0, n = 0; at < IN; at += n) {
        n = (size_t)(fabsf(random_sample()) * 1000.0f);
        n = n < IN - at ? n : IN - at;
        size_t frames = ee_resample_frames(r, n), from = at * (size_t)channels, to = made * (size_t)channels;
        CHECK("a block", ee_resample_process(r, in + from, parts + to, n) == EE_OK);
        made += frames;
    }
    CHECK("as many samples", made == wanted);
    CHECK("the same samples", memcmp(whole, parts, values * sizeof(float)) == 0);
    free(memory), free(in), free(whole), free(parts);
}

static void test_resampler_latency_and_bad_samples(void)
{
    float in[960] = {0}, out[320];
    void *memory;
    ee_resample *r = make_resample(48000, 16000, 1, &memory);
    int peak = 0;
    in[300] = 1.0f, in[700] = NAN, in[701] = INFINITY, in[702] = -3e38f;
    CHECK("a block", ee_resample_process(r, in, out, 960) == EE_OK);
    for (int i = 0; i < 320; i++) {
        peak = fabsf(out[i]) > fabsf(out[peak]) ? i : peak;
        CHECK("bad samples count as zero", i < 140 ? isfinite(out[i]) : out[i] == 0.0f);
    }
    CHECK("latency", ee_resample_latency(r) == 1.0 && peak == 100 + 16);
    CHECK("no input", ee_resample_process(r, NULL, out, 1) == EE_ERR_NULL);
    CHECK("nothing to do", ee_resample_process(r, NULL, NULL, 0) == EE_OK);
    CHECK("too little memory", ee_resample_init(&r, memory, 64, 48000, 16000, 1, 0) == EE_ERR_MEMORY);
    CHECK("equal rates", ee_resample_size(16000, 16000, 1, 0) == 0);
    CHECK("no rate", ee_resample_size(0, 16000, 1, 0) == 0 && ee_resample_size(16000, -1, 1, 0) == 0);
    CHECK("odd ratio", ee_resample_size(44099, 16000, 1, 0) == 0);
    CHECK("channels", ee_resample_size(48000, 16000, 0, 0) == 0 && ee_resample_size(48000, 16000, 17, 0) == 0);
    CHECK("late", ee_resample_size(48000, 16000, 1, 3) == 0 && ee_resample_size(48000, 16000, 1, 2) > 0);
    free(memory);
}

int main(void)
{
    make_tables();
    test_fft();
    for (int n = EE_MIN_FFT; n <= EE_MAX_FFT; n *= 2) test_fft_gives_the_same_bits_with_and_without_vectors(n);
    test_resampler_gives_the_same_samples_in_any_blocks(48000, 16000, 4);
    test_resampler_gives_the_same_samples_in_any_blocks(16000, 44100, 2);
    test_resampler_gives_the_same_samples_in_any_blocks(44100, 16000, EE_MAX_MICS);
    test_resampler_gives_the_same_samples_in_any_blocks(8000, 16000, 1);
    test_resampler_latency_and_bad_samples();
    test_memory_and_configuration();
    for (int beamformer = EE_BEAM_FIXED; beamformer <= EE_BEAM_MVDR; beamformer++) {
        test_any_block_size_gives_the_same_samples(beamformer);
        test_bad_input(beamformer);
        test_bypass_and_ceiling(beamformer);
    }
    test_failing_mask_and_aligned_blocks();
    printf(failures ? "NOT OK: %d failures\n" : "OK\n", failures);
    return failures != 0;
}
