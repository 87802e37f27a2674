/* An adapter as it was before, against the labels that stay on the device. */
#include "kt/guard.h"

kt_status kt_guard_begin(kt_guard *guard)
{
    const kt_model_interface *const interface = guard->interface;
    guard->bytes = 0;
    if (interface->adapter_export == NULL || interface->adapter_load == NULL || interface->adapter_layout->public_key != NULL) {
        return KT_ERROR_UNSUPPORTED;
    }
    guard->before = kt_self_test_errors(guard->test, interface, guard->model, guard->output);
    if (guard->before == UINT32_MAX) {
        return KT_ERROR_UNSUPPORTED;
    }
    guard->bytes = interface->adapter_export(guard->model, guard->adapter, interface->adapter_bytes);
    return guard->bytes == 0 ? KT_ERROR_UNSUPPORTED : KT_OK;
}

kt_status kt_guard_end(kt_guard *guard)
{
    if (guard->bytes == 0) {
        return KT_ERROR_MISSING;
    }
    const size_t bytes = guard->bytes;
    guard->bytes = 0;
    guard->after = kt_self_test_errors(guard->test, guard->interface, guard->model, guard->output);
    if (guard->after <= guard->before || (guard->after != UINT32_MAX && guard->after - guard->before <= guard->test->permitted)) {
        return KT_OK;
    }
    const kt_status status = guard->interface->adapter_load(guard->model, guard->adapter, bytes);
    guard->taken_back++;
    return status == KT_OK ? KT_ERROR_SELF_TEST : status;
}
