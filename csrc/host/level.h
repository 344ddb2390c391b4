/* level.h: what live.c does to the sound last (level.c). */
#ifndef EDGEENHANCE_LEVEL_H
#define EDGEENHANCE_LEVEL_H

#include "../internal.h"

typedef struct {
    float target;                    /* mean square of speech, 0: no automatic level control */
    float speech, floor, gain, want; /* mean squares of speech and of the background; present gain, where it goes */
    float start, start_step;         /* soft start, 0..1 */
    float seconds;                   /* per frame */
    ee_limiter limiter;
} ee_level;

/* frames: of a block, all of one size */
void ee_level_init(ee_level *v, float ceiling, float target, float start_seconds, double sample_rate, int frames);
void ee_level_process(ee_level *v, float *y, int channels, int frames);  /* y [frames][channels], in place */

#endif
