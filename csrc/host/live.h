/*
 * live.h: the enhancer at a sound card, for hosts with a clock and threads. `ee_live_callback` is PortAudio's stream
 * callback: audio never waits for Python. Part of the Python module (src/edgeenhance/live.py), not of the C library.
 *
 *   card -> microphones -> [resampler] -> enhancer -> [resampler] -> cross-fade -> level -> ears -> card
 *                |                                        |
 *                +------------- delay line ---------------+   dry: faults
 *
 * One thread calls the callback; meanwhile one other may read the status, and one take from the record ring. This file is also cdef of the binding: declarations only.
 */
#ifndef EDGEENHANCE_LIVE_H
#define EDGEENHANCE_LIVE_H

#include "edgeenhance.h"

#define EE_LIVE_BLOCKS 16384  /* kept of ee_live_block, a power of two */
#define EE_LIVE_OVERLOAD 1    /* a fault beside the negative codes: the enhancer needs more than a core */
#define EE_LIVE_NOT_FINITE 2  /* ... it gave NaN, Inf or absurd samples */

typedef struct ee_live ee_live;
typedef struct {
    ee_enhancer *enhancer;
    ee_resample *to_enhancer, *to_card;  /* NULL where the card runs at the enhancer's rate */
    int sample_rate;                     /* of the card, Hz */
    int mics, ears;                      /* of the enhancer */
    int inputs, outputs;                 /* channels of the card; one ear goes to all outputs */
    int channel[EE_MAX_MICS];            /* card input of each microphone, from 0 */
    int reference[2];                    /* microphone of each ear: the dry signal */
    int delay;                           /* of enhancer and resamplers, samples of the card: the dry signal has it, too */
    int most;                            /* frames of a callback */
    int warm;                            /* frames that the enhancer runs unheard after a fault */
    float ceiling;                       /* no output sample is larger, 0 < ceiling <= 1 */
    float speech_target;                 /* automatic level control: mean square to bring speech to; 0: none */
    float start_seconds;                 /* in which the sound fades in */
    int record_frames;                   /* capacity of the record ring, a power of two; 0: none */
} ee_live_config;

/* What a block was like. Mean squares and peaks of ear 0 : dry (delayed input), clean (before the level), out. */
typedef struct {
    float dry, clean, out;
    float in_peak, out_peak;  /* in: over all microphones */
    float us;                 /* time that the callback took */
} ee_live_block;

/* Counters wrap around. */
typedef struct {
    uint32_t blocks;                     /* done: the newest is blocks[(count - 1) % EE_LIVE_BLOCKS] */
    uint32_t xruns, faults, bad_frames;  /* bad: NaN, Inf or absurd samples, muted */
    uint32_t recorded, dropped;          /* frames put into the record ring; lost because it was full */
    int fault;                           /* the last one: EE_ERR_*, EE_LIVE_* */
    int enhancing;                       /* 0: the dry signal is heard */
} ee_live_status;

size_t ee_live_size(const ee_live_config *config);
int ee_live_init(ee_live **out, void *memory, size_t bytes, const ee_live_config *config);
/* PaStreamCallback, float32 interleaved: user is the ee_live. Returns 0: go on. */
int ee_live_callback(const void *in, void *out, unsigned long frames, const void *time, unsigned long flags, void *user);
void ee_live_get_status(const ee_live *live, ee_live_status *status);
const ee_live_block *ee_live_blocks(const ee_live *live);  /* [EE_LIVE_BLOCKS] */
/* Take up to `frames` frames of microphones [mics] and ears [ears] out of the record ring; returns how many. */
int ee_live_take(ee_live *live, float *mics, float *ears, int frames);

#endif
