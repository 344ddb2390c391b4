/*
 * audio.h: where sound comes from and goes to. audio.c takes it from files of the debugger; put your board's I2S driver
 * in its place, with this one function: call `hop` with every EE_SETUP_HOP frames that the microphones gave, and play what
 * it gives back, from the DMA interrupt or a loop that waits for it.
 */
#ifndef AUDIO_H
#define AUDIO_H

/* in [EE_SETUP_HOP][EE_SETUP_MICS], out [EE_SETUP_HOP][EE_SETUP_EARS], full scale +-1. */
typedef void (*audio_hop)(const float *in, float *out);

/* Returns when there is no more sound: 0, or -1 where there was none at all. A driver never returns. */
int audio_run(audio_hop hop);

#endif
