/*
 * fuzz_program.c: any bytes as a network program. As they are, and once more with length and checksum made right, so
 * that the checks behind those are reached, too. What is accepted runs some hops of random features; the program and
 * the network's memory are blocks of exactly their size.
 */
#include "fuzz.h"
#include "../../csrc/internal.h"

enum { HOPS = 3 };

static ee_net *start(const uint8_t *program, size_t bytes, size_t size, void **memory)
{
    ee_net *net = NULL;
    *memory = fuzz_block(size);
    memset(*memory, 0x5a, size);
    fuzz_require(ee_net_init(&net, *memory, size, program, bytes) == EE_OK);
    return net;
}

static void check_facts(const ee_net *net)
{
    ee_net_facts facts;
    int sum = 0;
    ee_net_describe(net, &facts);
    fuzz_require(facts.bands >= 2 && facts.bands <= EE_MAX_BANDS && facts.signals >= 1 && facts.signals <= EE_SIGNALS);
    for (int b = 0; b < facts.bands; b++) sum += facts.centers[b]; /* all of them can be read */
    fuzz_require(sum <= EE_MAX_BANDS * INT16_MAX);
}

/* With and without vector instructions: the same gains. */
static void run(const uint8_t *program, size_t bytes)
{
    size_t size = ee_net_size(program, bytes);
    if (!size) return;
    int16_t features[EE_SIGNALS * EE_MAX_BANDS], gains[EE_MAX_BANDS] = {0}, plain[EE_MAX_BANDS] = {0};
    uint32_t state = 1;
    void *memory[2];
    ee_net *net = start(program, bytes, size, &memory[0]), *twin = start(program, bytes, size, &memory[1]);
    ee_net_vectorize(twin, 0);
    check_facts(net);
    for (int h = 0; h < HOPS; h++) {
        for (int i = 0; i < EE_SIGNALS * EE_MAX_BANDS; i++) features[i] = (int16_t)(fuzz_random(&state) & 0xffff);
        fuzz_require(ee_net_step(net, features, gains) == EE_OK && ee_net_step(twin, features, plain) == EE_OK);
        fuzz_require(!memcmp(gains, plain, sizeof gains));
    }
    free(memory[0]), free(memory[1]);
}

static void sign(uint8_t *program, size_t bytes)
{
    uint32_t crc = 0xffffffffu, total = (uint32_t)bytes;
    for (size_t i = 16; i < bytes; i++) {
        crc ^= program[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1u ? 0xedb88320u : 0u);
    }
    crc = ~crc;
    memcpy(program + 8, &total, sizeof total);
    memcpy(program + 12, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *program = fuzz_block(bytes);
    if (bytes) memcpy(program, data, bytes);
    run(program, bytes);
    if (bytes >= 16) sign(program, bytes);
    run(program, bytes);
    free(program);
    return 0;
}
