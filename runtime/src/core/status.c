#include "kt/model.h"

const char *kt_status_text(kt_status status)
{
    switch (status) {
    case KT_OK:
        return "ok";
    case KT_ERROR_ARENA:
        return "the arena is missing, misaligned or too small";
    case KT_ERROR_STATE:
        return "the state is missing, misaligned, too small, or of another model";
    case KT_ERROR_LABEL:
        return "the label lies outside the model's classes, or its class is closed";
    case KT_ERROR_LOSS:
        return "a target is NaN or out of range";
    case KT_ERROR_ADAPTER:
        return "the adapter is truncated, oversized or damaged";
    case KT_ERROR_NOT_TRAINED:
        return "no sample was trained since the last update";
    case KT_ERROR_UNSUPPORTED:
        return "the model was built without training";
    case KT_ERROR_BASE:
        return "the adapter is of another base model, other methods or layers, or of a higher rank";
    case KT_ERROR_VERSION:
        return "the adapter is in another version of the format, or older than permitted";
    case KT_ERROR_SIGNATURE:
        return "the adapter is not signed by the key of this build";
    case KT_ERROR_FULL:
        return "there is no room for the adapter";
    case KT_ERROR_EXISTS:
        return "an adapter of this name is there";
    case KT_ERROR_MISSING:
        return "there is no adapter of this name, or no update under way";
    case KT_ERROR_BUSY:
        return "the adapter is in use";
    case KT_ERROR_FLASH:
        return "the flash did not take what was written";
    case KT_ERROR_SELF_TEST:
        return "stored samples get worse than permitted";
    case KT_ERROR_PAGE:
        return "slow memory failed";
    case KT_ERROR_ARGUMENT:
        return "the call does not permit this value";
    case KT_ERROR_UNSIGNED:
        return "a build with a public key takes no state from outside";
    case KT_ERROR_TOKEN:
        return "a token lies outside the model's vocabulary";
    case KT_ERROR_EMPTY:
        return "the replay buffer holds no sample, or noise has no key";
    case KT_ERROR_CLASSES:
        return "all classes of the last layer are open";
    case KT_ERROR_CHANNEL:
        return "the values move a constant channel, which this build computes without";
    }
    return "an unknown status";
}
