/*
 * firmware.c: the smallest firmware: two microphones in, one ear out, a hop at a time. What it needs is what the chain
 * needs; link it with functions that read and write the converters' buffers.
 */
#include "edgeenhance.h"
#include "golden.h"

enum { HOP = GOLDEN_HOP, MICS = 2 };

static union { double align[2]; char bytes[GOLDEN_TWO_MEMORY]; } memory_block __attribute__((aligned(16)));
static union { double align[2]; char bytes[GOLDEN_NET_MEMORY]; } net_block __attribute__((aligned(16)));

static volatile float microphones[HOP * MICS], ear[HOP]; /* a converter's buffers */

int main(void)
{
    static float in[HOP * MICS], out[HOP];
    ee_net *net;
    ee_enhancer *e;
    ee_config config = golden_two_config;
    if (ee_net_init(&net, net_block.bytes, sizeof net_block, golden_program, sizeof golden_program)) return 1;
    config.mask = ee_net_step, config.mask_user = net;
    if (ee_enhancer_init(&e, memory_block.bytes, sizeof memory_block, &config, &golden_two_beam)) return 1;
    for (;;) { /* wait for the converter here */
        for (int i = 0; i < HOP * MICS; i++) in[i] = microphones[i];
        ee_enhancer_process(e, in, out, HOP);
        for (int i = 0; i < HOP; i++) ear[i] = out[i];
    }
}
