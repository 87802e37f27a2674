// A model in C++11, as a sketch or a firmware of classes uses it: no heap, no exceptions, memory with a size that is known when it is compiled.
#include "digits.h"

#include <cstdio>

namespace {

constexpr int pixels = DIGITS_INPUT_BYTES;

class Digits {
public:
    Digits() : status_(digits_init(&model_, arena_, sizeof arena_, state_, sizeof state_)) {}

    // What went wrong last; KT_OK where nothing did.
    kt_status status() const { return status_; }

    // The digit in a picture of grey levels from 0 to 16. probability: how sure the model is, from 0 to 1.
    int classify(const float (&picture)[pixels], float &probability)
    {
        int8_t scores[DIGITS_OUTPUT_BYTES];
        quantize(picture);
        status_ = digits_infer(&model_, input_, scores);
        const int32_t best = digits_argmax_output(scores);
        probability = digits_dequantize_output(scores[best]);
        return static_cast<int>(best);
    }

    // Trains on one picture; its loss.
    float learn(const float (&picture)[pixels], int digit)
    {
        const kt_target target = {digit, nullptr};
        float loss = 0.0f;
        quantize(picture);
        status_ = digits_train_step(&model_, input_, &target, &loss);
        if (status_ == KT_OK)
            status_ = digits_apply(&model_);
        return loss;
    }

private:
    void quantize(const float (&picture)[pixels])
    {
        for (int i = 0; i < pixels; i++)
            input_[i] = digits_quantize_input(picture[i]);
    }

    digits_model model_;
    alignas(KT_ALIGNMENT) uint8_t arena_[DIGITS_ARENA_BYTES_TRAIN];
    alignas(KT_ALIGNMENT) uint8_t state_[DIGITS_STATE_BYTES];
    int8_t input_[DIGITS_INPUT_BYTES];
    kt_status status_;
};

Digits digits;

// A seven as somebody writes it who holds the paper the wrong way round.
const char drawing[] = "  ####  "
                       "  #  #  "
                       "  #     "
                       "  ##    "
                       "  ####  "
                       "    #   "
                       "    #   "
                       "    ##  ";

} // namespace

int main()
{
    float picture[pixels], probability = 0.0f;
    for (int i = 0; i < pixels; i++)
        picture[i] = drawing[i] == '#' ? 14.0f : 0.0f;

    int digit = digits.classify(picture, probability);
    std::printf("before: %d (probability %.3f)\n", digit, static_cast<double>(probability));
    int steps = 0;
    for (; digit != 7 && steps < 20 && digits.status() == KT_OK; steps++) {
        digits.learn(picture, 7);
        digit = digits.classify(picture, probability);
    }
    if (digits.status() != KT_OK) {
        std::printf("%s\n", kt_status_text(digits.status()));
        return 1;
    }
    std::printf("after %d steps: %d (probability %.3f)\n", steps, digit, static_cast<double>(probability));
    return 0;
}
