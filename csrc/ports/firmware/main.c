/*
 * main.c: the firmware. It starts the chain with the network in the model region of the flash or, where that is empty or
 * damaged, with the beamformer alone, says which, and enhances every hop that audio.c brings.
 */
#include <string.h>

#include "audio.h"
#include "board.h"
#include "ee_setup.h"

enum { MODEL_MEMORY = 4096, NAME_LENGTH = 63, PROGRAM_BYTES = 8, PROGRAM_NAME = 44 }; /* docs/model-format.md */

extern const unsigned char model_start[], model_end[]; /* sections.ld: the region, not the model in it */
extern const char firmware_about[];                    /* setup/model.c */

static char memory[EE_SETUP_BYTES] __attribute__((aligned(16)));
static char model_memory[MODEL_MEMORY] __attribute__((aligned(16)));
static ee_enhancer *enhancer;
static struct {
    uint64_t total;
    uint32_t hops, worst;
} meter; /* of board_clock */

static uint32_t word_at(const unsigned char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Puts the region's network into config; returns NULL, or why it cannot. */
static const char *load_model(ee_config *config)
{
    ee_net *net;
    ee_net_facts facts;
    ee_config with = *config;
    size_t bytes = word_at(model_start + PROGRAM_BYTES), most = (uintptr_t)model_end - (uintptr_t)model_start;
    size_t size = bytes <= most ? ee_net_size(model_start, bytes) : 0;
    if (!size) return "the model region is empty or damaged";
    if (size > sizeof model_memory) return "the model needs more memory";
    ee_net_init(&net, model_memory, sizeof model_memory, model_start, bytes);
    ee_net_describe(net, &facts);
    if (facts.sample_rate != with.sample_rate || facts.analysis != with.analysis || facts.synthesis != with.synthesis)
        return "the model is for another profile";
    with.bands = facts.bands, with.centers = facts.centers, with.mask = ee_net_step, with.mask_user = net;
    if (ee_enhancer_size(&with) > sizeof memory) return "the model's bands need more memory";
    *config = with;
    return NULL;
}

static void print_model(const char *trouble)
{
    char name[NAME_LENGTH + 1] = {0};
    uint32_t at = word_at(model_start + PROGRAM_NAME), bytes = word_at(model_start + PROGRAM_BYTES);
    if (trouble) {
        board_print("beam alone: "), board_print(trouble), board_print("\n");
        return;
    }
    if (at <= bytes - sizeof at) { /* which holds more, or it would not have been loaded */
        uint32_t length = word_at(model_start + at), room = bytes - at - (uint32_t)sizeof at;
        if (length > room) length = room;
        memcpy(name, model_start + at + sizeof at, length < NAME_LENGTH ? length : NAME_LENGTH);
    }
    board_print("model "), board_print(name), board_print("\n");
}

static void enhance(const float *in, float *out)
{
    board_start_clock();
    ee_enhancer_process(enhancer, in, out, EE_SETUP_HOP);
    uint32_t counts = board_clock();
    meter.hops++, meter.total += counts;
    if (counts > meter.worst) meter.worst = counts;
}

static void print_meter(void)
{
    uint32_t mean = meter.hops ? (uint32_t)(meter.total / meter.hops) : 0;
    board_print("hops: "), board_print_number(meter.hops);
    board_print(", counts per hop: mean "), board_print_number(mean), board_print(", worst "), board_print_number(meter.worst);
    board_print("\nbytes of stack: "), board_print_number(board_stack_used()), board_print("\n");
}

int main(void)
{
    ee_config config = ee_setup_config;
    const char *trouble = load_model(&config);
    board_print("edgeenhance: "), board_print(firmware_about), board_print("\n");
    print_model(trouble);
    int code = ee_enhancer_init(&enhancer, memory, sizeof memory, &config, ee_setup_looks);
    if (code) {
        board_print(ee_strerror(code)), board_print("\n");
        return 1;
    }
    if (audio_run(enhance)) board_print("no sound: put your board's driver in place of audio.c\n");
    print_meter();
    return 0;
}
