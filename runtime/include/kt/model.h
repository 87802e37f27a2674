/* kt/model.h: what every generated model shares: status codes, targets, and a table that lets one program
 * (the agent, the host library) drive any model.
 *
 * No function here allocates. Pointers to arena and state must be aligned to KT_ALIGNMENT bytes. */
#ifndef KT_MODEL_H
#define KT_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the contract between generated code and runtime; generated headers refuse another one. */
#define KT_ABI 3

#define KT_ALIGNMENT 8

typedef enum {
    KT_OK = 0,
    KT_ERROR_ARENA = 1,       /* arena missing, misaligned or smaller than the call needs */
    KT_ERROR_STATE = 2,       /* state missing, misaligned, too small, over the arena, or of another model or layout */
    KT_ERROR_LABEL = 3,       /* label outside [0, classes), or of a closed class */
    KT_ERROR_LOSS = 4,        /* a target is NaN or out of range; nothing was accumulated */
    KT_ERROR_ADAPTER = 5,     /* adapter truncated, oversized or damaged; nothing was changed */
    KT_ERROR_NOT_TRAINED = 6, /* update asked for with no accumulated sample */
    KT_ERROR_UNSUPPORTED = 7, /* the model was built without training */
    KT_ERROR_BASE = 8,        /* adapter of another base model, other methods or layers, or of a higher rank */
    KT_ERROR_VERSION = 9,     /* adapter in another version of the format, or older than rollback protection permits */
    KT_ERROR_SIGNATURE = 10,  /* adapter not signed by the key that the model was built with */
    KT_ERROR_FULL = 11,       /* no room for the adapter */
    KT_ERROR_EXISTS = 12,     /* an adapter of this name is there */
    KT_ERROR_MISSING = 13,    /* no adapter of this name, or no update under way */
    KT_ERROR_BUSY = 14,       /* the adapter is in use, or a training step was left in the middle */
    KT_ERROR_FLASH = 15,      /* the flash did not take what was written */
    KT_ERROR_SELF_TEST = 16,  /* stored samples get worse than permitted; the old adapter is active */
    KT_ERROR_PAGE = 17,       /* slow memory failed: start with init or resume; replay entries it lost are dropped */
    KT_ERROR_ARGUMENT = 18,   /* a number or a description that the call does not permit; nothing was changed */
    KT_ERROR_UNSIGNED = 19,   /* a state from outside, in a build with a public key; nothing was changed */
    KT_ERROR_TOKEN = 20,      /* a token of the input has no row in the model's table; nothing was changed */
    KT_ERROR_EMPTY = 21,      /* the replay buffer holds no sample, or noise has no key */
    KT_ERROR_CLASSES = 22,    /* all classes of the last layer are open */
    KT_ERROR_CHANNEL = 23     /* values that would move a channel left out as constant; nothing was changed */
} kt_status;

/* What a status means, in a few words of English: for a log or a serial port. Never NULL, whatever the number. */
const char *kt_status_text(kt_status status);

typedef struct kt_adapter_layout kt_adapter_layout; /* kt/adapter.h */
typedef struct kt_self_test kt_self_test;           /* kt/adapter_slots.h */

/* What a training sample should give: a class number, or values: in the output's real units, or probabilities. */
typedef struct {
    int32_t label;
    const float *values;
} kt_target;

/* Any generated model behind one table. `model` is storage of model_bytes, aligned to KT_ALIGNMENT.
 * Inputs (and outputs) are concatenated in the model's order, as the bytes of their element types; one whose elements are wider than a
 * byte begins at a multiple of their width, and the buffer, whose size is one of the widest, is aligned to KT_ALIGNMENT then. Functions are NULL where the model was built without them. */
typedef struct {
    const char *name;
    const uint8_t *base_hash; /* first 8 bytes of the SHA-256 of the base model's frozen part */
    uint32_t model_bytes;
    uint32_t input_bytes;
    uint32_t output_bytes;
    uint32_t target_values; /* floats in a target; 0: targets are labels, or the loss reads the input */
    uint32_t arena_bytes_infer;
    uint32_t arena_bytes_train;
    uint32_t state_bytes;
    uint32_t adapter_bytes; /* the largest file: with digest and signature */
    kt_status (*init)(void *model, void *arena, size_t arena_bytes, void *state, size_t state_bytes);
    /* A state is not signed: in a build with a public key this is KT_ERROR_UNSIGNED for whatever is given. */
    kt_status (*resume)(void *model, void *arena, size_t arena_bytes, void *state, size_t state_bytes);
    kt_status (*infer)(void *model, const int8_t *input, int8_t *output);
    kt_status (*train_step)(void *model, const int8_t *input, const kt_target *target, float *loss);
    kt_status (*apply)(void *model);
    kt_status (*set_learning_rate)(void *model, float learning_rate);
    size_t (*adapter_export)(const void *model, void *buffer, size_t capacity);
    kt_status (*adapter_load)(void *model, const void *buffer, size_t length);
    const kt_adapter_layout *adapter_layout; /* NULL where no adapter is taken */
    void (*adapter_select)(void *model, const void *values);
    const kt_self_test *self_test; /* NULL where the build has none */
    kt_status (*remember)(void *model, const int8_t *input, const kt_target *target);
    kt_status (*replay_step)(void *model, float *loss);
    kt_status (*add_class)(void *model, const int8_t *input, int32_t *label);
} kt_model_interface;

#ifdef __cplusplus
}
#endif
#endif
