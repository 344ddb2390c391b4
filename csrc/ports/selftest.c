/*
 * selftest.c: STFT, network and the whole chain against what another machine computed (golden.h, written by
 * python -m edgeenhance.golden). Built exact the bits must be equal; otherwise within 1e-4 of full scale.
 */
#include <math.h>
#include <string.h>

#include "board.h"
#include "edgeenhance.h"
#include "golden.h"

#ifdef EXACT
#define TOLERANCE 0.0f
#else
#define TOLERANCE 1e-4f
#endif

enum { HOP = GOLDEN_HOP, BINS = GOLDEN_BINS, ALIGN = 16, SHOWN = 4, SHOWN_FROM = 300 };

typedef struct {
    uint32_t total, worst, calls;
} meter;

static int failures;
static meter of_network;
static union { double align; char bytes[GOLDEN_MEMORY + ALIGN]; } memory_block;
static union { double align; char bytes[GOLDEN_NET_MEMORY + ALIGN]; } net_block;

static void *aligned(char *bytes) { return bytes + (ALIGN - (uintptr_t)bytes % ALIGN) % ALIGN; }

/* ---- printing, without printf ---- */

static void print_named(const char *name, uint32_t value)
{
    board_print(name);
    board_print_number(value);
}

/* Of full scale, in millionths. */
static void print_sample(float x)
{
    board_print(x < 0.0f ? " -" : " ");
    board_print_number((uint32_t)(fabsf(x) * 1e6f + 0.5f));
}

/* ---- comparing ---- */

typedef struct {
    uint32_t hash, count;
    float largest, shown[SHOWN];
} comparison;

static void compare(comparison *c, float here, float there)
{
    union { float value; uint32_t bits; } sample = {here};
    float difference = fabsf(here - there);
    if (!c->count) c->hash = 2166136261u;
    if (c->count - SHOWN_FROM < SHOWN) c->shown[c->count - SHOWN_FROM] = here;
    c->count++;
    c->hash = (c->hash ^ sample.bits) * 16777619u;
    if (!(difference <= c->largest)) c->largest = difference;
}

static void judge(const char *name, const comparison *c, uint32_t hash, float tolerance)
{
    int ok = c->largest <= tolerance && (tolerance > 0.0f || c->hash == hash);
    failures += !ok;
    board_print(name);
    board_print(": values (1e-6)");
    for (int i = 0; i < SHOWN; i++) print_sample(c->shown[i]);
    print_named(", largest difference (1e-9) ", (uint32_t)(c->largest < 1.0f ? c->largest * 1e9f : 1e9f));
    board_print(c->hash == hash ? ", bits equal" : ", bits differ");
    board_print(ok ? ": OK\n" : ": NOT OK\n");
}

static void require(const char *what, int code)
{
    if (code == EE_OK) return;
    failures++;
    board_print("NOT OK: "), board_print(what), board_print(": "), board_print(ee_strerror(code)), board_print("\n");
}

/* ---- the tests ---- */

static void count_up(meter *m, uint32_t count)
{
    m->total += count;
    m->calls++;
    m->worst = count > m->worst ? count : m->worst;
}

static void print_meter(const char *name, const meter *m)
{
    if (!m->total) return;
    board_print(name);
    print_named(": counts per hop: mean ", m->total / m->calls);
    print_named(", worst ", m->worst);
    board_print("\n");
}

static void load_hop(float *hop, int at, int mics)
{
    for (int k = 0; k < HOP; k++)
        for (int m = 0; m < mics; m++) hop[k * mics + m] = (float)golden_input[(at + k) * GOLDEN_MICS + m] / 32768.0f;
}

/* Analysis and synthesis of microphone 0; the spectrum of the last hop, too. */
static void test_stft(void)
{
    static float history[GOLDEN_ANALYSIS], overlap[HOP], X[2 * BINS];
    float hop[HOP], out[HOP];
    comparison signal = {0}, spectrum = {0};
    meter m = {0};
    ee_stft *stft = NULL;
    require("STFT", ee_stft_init(&stft, aligned(memory_block.bytes), GOLDEN_MEMORY, GOLDEN_ANALYSIS, GOLDEN_SYNTHESIS));
    for (int h = 0; stft && h < GOLDEN_STFT_HOPS; h++) {
        load_hop(hop, h * HOP, 1);
        board_start_clock();
        ee_stft_analyze(stft, history, hop, 1, X);
        ee_stft_synthesize(stft, overlap, X, out, 1);
        count_up(&m, board_clock());
        for (int k = 0; k < HOP; k++) compare(&signal, out[k], golden_stft[h * HOP + k]);
    }
    for (int i = 0; i < 2 * BINS; i++) compare(&spectrum, X[i], golden_spectrum[i]);
    judge("STFT and back", &signal, golden_stft_hash, TOLERANCE);
    judge("spectrum", &spectrum, golden_spectrum_hash, TOLERANCE);
    print_meter("STFT and back", &m);
}

/* What one hop of 256-point analysis and synthesis costs, half overlapped: docs/boards.md sets it beside CMSIS-DSP. */
static void measure_256_points(void)
{
    enum { POINTS = 256 };
    static float history[POINTS], overlap[POINTS / 2], X[POINTS + 2], hop[POINTS / 2];
    meter m = {0};
    ee_stft *stft = NULL;
    require("STFT", ee_stft_init(&stft, aligned(memory_block.bytes), GOLDEN_MEMORY, POINTS, POINTS));
    for (int h = 0; stft && h < 4; h++) {
        for (int k = 0; k < POINTS / 2; k++) hop[k] = (float)golden_input[k * GOLDEN_MICS] / 32768.0f;
        board_start_clock();
        ee_stft_analyze(stft, history, hop, 1, X);
        ee_stft_synthesize(stft, overlap, X, hop, 1);
        count_up(&m, board_clock());
    }
    print_meter("256 points and back", &m);
}

static ee_net *make_net(void)
{
    ee_net *net = NULL;
    size_t size = ee_net_size(golden_program, sizeof golden_program);
    require("network", ee_net_init(&net, aligned(net_block.bytes), size, golden_program, sizeof golden_program));
    return net;
}

/* Integers: equal in every build. */
static void test_network(void)
{
    int16_t features[EE_SIGNALS * GOLDEN_BANDS], gains[GOLDEN_BANDS];
    uint32_t state = 5;
    comparison c = {0};
    ee_net *net = make_net();
    for (int h = 0; net && h < GOLDEN_NET_HOPS; h++) {
        for (int i = 0; i < EE_SIGNALS * GOLDEN_BANDS; i++) {
            state = state * 1664525u + 1013904223u;
            features[i] = (int16_t)(int)((state >> 8) % 65536u - 32768u);
        }
        require("a hop", ee_net_step(net, features, gains));
        for (int b = 0; b < GOLDEN_BANDS; b++)
            compare(&c, (float)gains[b] / 32768.0f, (float)golden_gains[h * GOLDEN_BANDS + b] / 32768.0f);
    }
    judge("network", &c, golden_gains_hash, 0.0f);
}

static int counted_net_step(void *net, const int16_t *features, int16_t *gains)
{
    uint32_t before = board_clock();
    int code = ee_net_step(net, features, gains);
    count_up(&of_network, board_clock() - before);
    return code;
}

static void test_chain(const golden_chain *golden)
{
    static float in[HOP * GOLDEN_MICS], out[HOP * 2];
    ee_config config = *golden->config;
    comparison c = {0};
    meter m = {0};
    ee_enhancer *e = NULL;
    ee_net *net = make_net();
    config.mask = counted_net_step, config.mask_user = net;
    size_t size = ee_enhancer_size(&config);
    board_print_number((uint32_t)config.mics), print_named(" microphones, ", (uint32_t)config.ears), board_print(" ears\n");
    require("enhancer", ee_enhancer_init(&e, aligned(memory_block.bytes), GOLDEN_MEMORY, &config, golden->beam));
    memset(&of_network, 0, sizeof of_network);
    for (int at = 0; e && at < GOLDEN_FRAMES; at += HOP) {
        load_hop(in, at, config.mics);
        board_start_clock();
        require("a hop", ee_enhancer_process(e, in, out, HOP));
        count_up(&m, board_clock());
        for (int k = 0; k < HOP * config.ears; k++) compare(&c, out[k], golden->out[at * config.ears + k]);
    }
    judge("chain", &c, golden->hash, TOLERANCE);
    print_meter("chain", &m);
    print_meter("network", &of_network);
    print_named("bytes of state: ", (uint32_t)size);
    print_named(" and the network's ", (uint32_t)ee_net_size(golden_program, sizeof golden_program));
    board_print("\n");
}

int main(void)
{
    board_print(TOLERANCE > 0.0f ? "fast build\n" : "exact build\n");
    test_stft();
    measure_256_points();
    test_network();
    test_chain(&golden_two);
    test_chain(&golden_four);
    if (board_stack_used()) print_named("bytes of stack: ", board_stack_used()), board_print("\n");
    board_print(failures ? "NOT OK\n" : "OK\n");
    return failures != 0;
}
