/*
 * live.c: the enhancer at a sound card, see live.h. Nothing here allocates, locks or prints after ee_live_init.
 *
 * The dry signal, the reference microphones behind a delay line, owes nothing to the enhancer: it is what is heard while
 * the enhancer fails, or takes more time than there is. After a fault the enhancer rests, for twice as long
 * each time; then it runs unheard until its windows are full again, and fades in.
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <string.h>
#include <time.h>

#include "level.h"
#include "live.h"

#define FADE_SECONDS 0.02
#define LOAD_SECONDS 0.25  /* the enhancer is overloaded where, over so much sound, */
#define LOAD_LIMIT 0.9     /* it takes more than this share of a core */
#define REST_SECONDS 1.0   /* after the first fault, */
#define REST_LONGEST 60.0
#define CALM_SECONDS 10.0  /* without a fault: the next one is the first again */
#define XRUN_FLAGS 15UL    /* PortAudio: input underflow, overflow, output underflow, overflow */

struct ee_live {
    ee_live_config config;
    ee_live_block *blocks;
    ee_live_status status;
    float *x, *dry, *y;          /* one callback: [most][mics], [most][ears] twice */
    float *line;                 /* [delay][ears], a ring */
    int line_at;
    float *inside, *enhanced;    /* at the enhancer's rate; [ears] */
    float *waiting;              /* resampled, more than there was room for */
    int waits;
    ee_level level;
    float last[2];               /* enhanced less dry, when it was last heard */
    float fade, fade_step;       /* 0: dry .. 1: enhanced */
    int64_t rest, warm, calm;    /* frames */
    double rest_seconds, busy, heard;
    float *record;               /* [record_frames][mics + ears] */
    uint32_t taken;
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- counters: written by the audio thread, read by another one ---- */

static void put(uint32_t *counter, uint32_t value) { EE_ATOMIC_STORE(counter, &value); }
static void count(uint32_t *counter, uint32_t more) { put(counter, *counter + more); }

static uint32_t get(const uint32_t *counter)
{
    uint32_t value;
    EE_ATOMIC_LOAD(counter, &value);
    return value;
}

/* ---- memory ---- */

static size_t frames_inside(const ee_live_config *c)
{
    return c->to_enhancer ? ee_resample_frames(c->to_enhancer, (size_t)c->most) + 1 : 0;
}

static void carve(ee_live *v, ee_arena *arena)
{
    const ee_live_config *c = &v->config;
    size_t most = (size_t)c->most, mics = (size_t)c->mics, ears = (size_t)c->ears, inside = frames_inside(c);
    v->blocks = ee_arena_take(arena, EE_LIVE_BLOCKS * sizeof *v->blocks);
    v->x = ee_arena_floats(arena, most * mics);
    v->dry = ee_arena_floats(arena, most * ears);
    v->y = ee_arena_floats(arena, most * ears);
    v->line = ee_arena_floats(arena, (size_t)c->delay * ears);
    v->inside = ee_arena_floats(arena, inside * mics);
    v->enhanced = ee_arena_floats(arena, inside * ears);
    v->waiting = ee_arena_floats(arena, inside ? ee_resample_frames(c->to_card, inside + 4) * ears : 0);
    v->record = ee_arena_floats(arena, (size_t)c->record_frames * (mics + ears));
}

static int config_fits(const ee_live_config *c)
{
    if (!c || !c->enhancer || !c->to_enhancer != !c->to_card) return 0;
    for (int m = 0; m < c->mics && m < EE_MAX_MICS; m++)
        if (c->channel[m] < 0 || c->channel[m] >= c->inputs) return 0;
    for (int e = 0; e < c->ears && e < 2; e++)
        if (c->reference[e] < 0 || c->reference[e] >= c->mics) return 0;
    return c->mics >= 1 && c->mics <= EE_MAX_MICS && (c->ears == 1 || c->ears == 2) && c->outputs >= c->ears
        && c->sample_rate > 0 && c->delay >= 1 && c->most >= 1 && c->warm >= 0 && c->record_frames >= 0
        && !(c->record_frames & (c->record_frames - 1)) && c->ceiling > 0.0f && c->ceiling <= 1.0f
        && c->speech_target >= 0.0f && c->start_seconds >= 0.0f;
}

size_t ee_live_size(const ee_live_config *config)
{
    if (!config_fits(config)) return 0;
    ee_live v = {.config = *config};
    ee_arena arena = {NULL, 0};
    ee_arena_take(&arena, sizeof v);
    carve(&v, &arena);
    return arena.used;
}

int ee_live_init(ee_live **out, void *memory, size_t bytes, const ee_live_config *config)
{
    size_t size = ee_live_size(config);
    int code = ee_check_memory(out, memory, bytes, size);
    if (code) return code;
    memset(memory, 0, size);
    ee_arena arena = {memory, 0};
    ee_live *v = ee_arena_take(&arena, sizeof *v);
    v->config = *config;
    carve(v, &arena);
    ee_level_init(&v->level, config->ceiling, config->speech_target, config->start_seconds, config->sample_rate,
                  config->most);
    v->fade = 1.0f;
    v->fade_step = (float)(1.0 / (FADE_SECONDS * config->sample_rate));
    v->rest_seconds = REST_SECONDS;
    v->status.enhancing = 1;
    *out = v;
    return EE_OK;
}

/* ---- one callback ---- */

/* The microphones in the array's order; a frame with a bad sample is muted, as the kernel does it. */
static float pick(ee_live *v, const float *in, int n)
{
    const ee_live_config *c = &v->config;
    float *x = v->x, peak = 0.0f;
    for (int i = 0; i < n; i++, in += c->inputs, x += c->mics) {
        int fine = 1;
        for (int m = 0; m < c->mics; m++) {
            x[m] = in[c->channel[m]];
            float size = fabsf(x[m]);
            fine &= size <= EE_ABSURD; /* NaN is not */
            if (size > peak && size <= EE_ABSURD) peak = size;
        }
        if (fine) continue;
        memset(x, 0, (size_t)c->mics * sizeof *x);
        count(&v->status.bad_frames, 1);
    }
    return peak;
}

static void delay(ee_live *v, int n)
{
    const ee_live_config *c = &v->config;
    for (int i = 0; i < n; i++) {
        float *line = v->line + (size_t)v->line_at * (size_t)c->ears;
        for (int e = 0; e < c->ears; e++) {
            v->dry[i * c->ears + e] = line[e];
            line[e] = v->x[i * c->mics + c->reference[e]];
        }
        v->line_at = (v->line_at + 1) % c->delay;
    }
}

/* Enhancer between its resamplers: x -> y, as many frames out as in. */
static int chain(ee_live *v, int n)
{
    const ee_live_config *c = &v->config;
    if (!c->to_enhancer) return ee_enhancer_process(c->enhancer, v->x, v->y, (size_t)n);
    size_t ears = (size_t)c->ears, m = ee_resample_frames(c->to_enhancer, (size_t)n);
    ee_resample_process(c->to_enhancer, v->x, v->inside, (size_t)n);
    int code = ee_enhancer_process(c->enhancer, v->inside, v->enhanced, m);
    if (code && code != EE_ERR_MASK) memset(v->enhanced, 0, m * ears * sizeof(float));
    int all = v->waits + (int)ee_resample_frames(c->to_card, m);
    ee_resample_process(c->to_card, v->enhanced, v->waiting + (size_t)v->waits * ears, m);
    memcpy(v->y, v->waiting, (size_t)n * ears * sizeof(float));
    v->waits = all - n;
    memmove(v->waiting, v->waiting + (size_t)n * ears, (size_t)v->waits * ears * sizeof(float));
    return code;
}

static int is_finite(const float *y, int count)
{
    for (int i = 0; i < count; i++)
        if (!(fabsf(y[i]) <= EE_ABSURD)) return 0;
    return 1;
}

static void fault(ee_live *v, int code)
{
    const ee_live_config *c = &v->config;
    v->rest = (int64_t)(v->rest_seconds * c->sample_rate);
    v->rest_seconds = v->rest_seconds < REST_LONGEST / 2 ? 2 * v->rest_seconds : REST_LONGEST;
    v->warm = c->warm;
    v->calm = 0;
    v->busy = v->heard = 0.0;
    EE_ATOMIC_STORE(&v->status.fault, &code);
    count(&v->status.faults, 1);
}

/* 1 where y is what the enhancer made and may be heard. */
static int enhance(ee_live *v, int n)
{
    if (v->rest > 0) {
        v->rest -= n;
        return 0;
    }
    double start = now(CLOCK_THREAD_CPUTIME_ID); /* not the time in which others had the core */
    int code = chain(v, n);
    v->busy += now(CLOCK_THREAD_CPUTIME_ID) - start;
    v->heard += (double)n / v->config.sample_rate;
    if (!code && !is_finite(v->y, n * v->config.ears)) code = EE_LIVE_NOT_FINITE;
    int overload = !code && v->heard >= LOAD_SECONDS && v->busy > LOAD_LIMIT * v->heard;
    if (v->heard >= LOAD_SECONDS) v->busy = v->heard = 0.0;
    if (code || overload) fault(v, code ? code : EE_LIVE_OVERLOAD);
    if (code) return 0;
    v->calm += n;
    if (v->calm > (int64_t)(CALM_SECONDS * v->config.sample_rate)) v->rest_seconds = REST_SECONDS;
    if (v->warm > 0 && !overload) v->warm -= n;
    return overload || v->warm <= 0;
}

/* y: from dry to enhanced or back, linearly. Where the enhancer gives nothing, its last distance from dry fades out. */
static void cross_fade(ee_live *v, int n, int made)
{
    int ears = v->config.ears, enhancing;
    float goal = made && v->rest == 0 ? 1.0f : 0.0f;
    for (int i = 0; i < n; i++) {
        float way = goal - v->fade;
        v->fade = fabsf(way) <= v->fade_step ? goal : way > 0.0f ? v->fade + v->fade_step : v->fade - v->fade_step;
        for (int e = 0; e < ears; e++) {
            float *y = v->y + i * ears + e, dry = v->dry[i * ears + e];
            if (made) v->last[e] = *y - dry;
            if (v->fade < 1.0f || !made) *y = dry + v->fade * v->last[e];
        }
    }
    enhancing = v->fade > 0.0f;
    EE_ATOMIC_STORE(&v->status.enhancing, &enhancing);
}

static void spread(const ee_live *v, float *out, int n)
{
    int ears = v->config.ears, outputs = v->config.outputs;
    for (int i = 0; i < n; i++)
        for (int o = 0; o < outputs; o++) {
            int ear = ears == 1 ? 0 : o;
            out[i * outputs + o] = ear < ears ? v->y[i * ears + ear] : 0.0f;
        }
}

static void record(ee_live *v, int n)
{
    const ee_live_config *c = &v->config;
    if (!c->record_frames) return;
    uint32_t at = v->status.recorded, space = (uint32_t)c->record_frames - (at - get(&v->taken));
    if (space < (uint32_t)n) {
        count(&v->status.dropped, (uint32_t)n);
        return;
    }
    size_t mics = (size_t)c->mics, ears = (size_t)c->ears;
    for (int i = 0; i < n; i++, at++) {
        float *to = v->record + (at % (uint32_t)c->record_frames) * (mics + ears);
        memcpy(to, v->x + (size_t)i * mics, mics * sizeof *to);
        memcpy(to + mics, v->y + (size_t)i * ears, ears * sizeof *to);
    }
    put(&v->status.recorded, at);
}

/* Mean square of one channel of [frames][stride]. */
static float power(const float *x, int stride, int n)
{
    float sum = 0.0f;
    for (int i = 0; i < n; i++) sum += x[i * stride] * x[i * stride];
    return sum / (float)n;
}

static float peak(const float *x, int count)
{
    float most = 0.0f;
    for (int i = 0; i < count; i++)
        if (fabsf(x[i]) > most) most = fabsf(x[i]);
    return most;
}

static void run(ee_live *v, const float *in, float *out, int n, double start)
{
    ee_live_block *block = &v->blocks[v->status.blocks % EE_LIVE_BLOCKS];
    int ears = v->config.ears;
    block->in_peak = pick(v, in, n);
    delay(v, n);
    cross_fade(v, n, enhance(v, n));
    block->dry = power(v->dry, ears, n);
    block->clean = power(v->y, ears, n);
    ee_level_process(&v->level, v->y, ears, n);
    block->out = power(v->y, ears, n);
    block->out_peak = peak(v->y, n * ears);
    spread(v, out, n);
    record(v, n);
    block->us = (float)(1e6 * (now(CLOCK_MONOTONIC) - start));
    count(&v->status.blocks, 1);
}

int ee_live_callback(const void *in, void *out, unsigned long frames, const void *time, unsigned long flags, void *user)
{
    ee_live *v = user;
    const float *from = in;
    float *to = out;
    (void)time;
    if (flags & XRUN_FLAGS) count(&v->status.xruns, 1);
    while (frames) {
        int n = frames < (unsigned long)v->config.most ? (int)frames : v->config.most;
        run(v, from, to, n, now(CLOCK_MONOTONIC));
        from += (size_t)n * (size_t)v->config.inputs;
        to += (size_t)n * (size_t)v->config.outputs;
        frames -= (unsigned long)n;
    }
    return 0;
}

/* ---- the other thread ---- */

void ee_live_get_status(const ee_live *v, ee_live_status *status)
{
    const ee_live_status *from = &v->status;
    status->blocks = get(&from->blocks);
    status->xruns = get(&from->xruns);
    status->faults = get(&from->faults);
    status->bad_frames = get(&from->bad_frames);
    status->recorded = get(&from->recorded);
    status->dropped = get(&from->dropped);
    EE_ATOMIC_LOAD(&from->fault, &status->fault);
    EE_ATOMIC_LOAD(&from->enhancing, &status->enhancing);
}

const ee_live_block *ee_live_blocks(const ee_live *v) { return v->blocks; }

int ee_live_take(ee_live *v, float *mics, float *ears, int frames)
{
    const ee_live_config *c = &v->config;
    size_t m = (size_t)c->mics, e = (size_t)c->ears;
    uint32_t at = v->taken, there = get(&v->status.recorded) - at;
    int n = there < (uint32_t)frames ? (int)there : frames;
    for (int i = 0; i < n; i++, at++) {
        const float *from = v->record + (at % (uint32_t)c->record_frames) * (m + e);
        memcpy(mics + (size_t)i * m, from, m * sizeof *mics);
        memcpy(ears + (size_t)i * e, from + m, e * sizeof *ears);
    }
    put(&v->taken, at);
    return n;
}
