"""What the codes that firmware answers with mean."""

from __future__ import annotations

from ..errors import DeviceError

__all__ = ["STATUS", "DeviceError", "check_status"]

STATUS = {
    1: ("the arena is missing, misaligned or too small", "rebuild the model: firmware and manifest do not belong together"),
    2: ("the state is missing, misaligned, too small, or of another model", "only a state of this very build can be set"),
    3: (
        "a label lies outside the model's classes, or its class is closed",
        "labels count from 0; add_class(x) opens a class",
    ),
    4: ("the loss is not finite: a target is NaN, infinite or out of range; nothing was accumulated", "check the targets"),
    5: ("the adapter is truncated, oversized or damaged; nothing was changed", "export it again from this model"),
    6: ("an update was asked for, but no sample was accumulated", "call train_step first"),
    7: ("the model was built without training", "build it with a method, such as kt.LoRA(rank=4)"),
    8: ("the adapter belongs to another base model, other methods or layers, or has a higher rank; nothing was changed", "train it for this build"),
    9: ("the adapter is in another version of the format, or older than rollback protection permits", "sign it with a higher sequence number"),
    10: ("the adapter is not signed by the key of this build; nothing was changed", "`kilotune adapter sign` it with the secret key of the build"),
    11: ("there is no room for the adapter", "remove_adapter() one, or build with a larger kt.AdapterOptions(resident=)"),
    12: ("an adapter of this name is there", "remove it, or choose another name"),
    13: ("there is no adapter of this name, or no update under way", "stored_adapters() says which are there; update_adapter() begins an update"),
    14: ("the adapter is in use, or a training step was left in the middle", "select another adapter first, or do the rest of the step"),
    15: ("the flash did not take what was written", "the old adapter is active; the device may be worn out"),
    16: ("the adapter makes the stored samples' results worse than permitted; the old one is active", "train it on more samples"),
    17: (
        "slow memory did not give or take a page, so that a step is incomplete, or holds another sample than the replay buffer",
        "reset the device, or give it a state saved before; of a replay buffer what was lost is dropped: go on, or remember(x, y) more",
    ),
    18: ("the device does not permit this value; nothing was changed", "a learning rate is at least 0 and below 1e18"),
    19: (
        "the build has a public key: it takes no state from outside; nothing was changed",
        "load an adapter that is signed by the key; what was trained elsewhere is exported and signed first",
    ),
    20: ("a token lies outside the model's vocabulary; nothing was changed", "tokens count from 0; the manifest says how many there are"),
    21: ("the replay buffer holds no sample, or the device no secret", "remember(x, y) offers samples, seed_noise(entropy) gives a secret"),
    22: ("all classes of the last layer are open", "build with a larger kt.Head(extra_classes=)"),
    23: (
        "the values move a constant channel, which this build computes without; nothing was changed",
        'build with constant_channels="frozen", which keeps the channels of trained layers',
    ),
    65: ("the firmware does not know this command", "rebuild and flash the firmware"),
    66: ("the firmware refuses this request's length or range", "rebuild and flash the firmware"),
    67: ("the board has restarted; what was trained since is lost", "open the device again"),
    68: ("the state on the device is incomplete", "call set_state() with a whole state, or reset()"),
    69: ("the firmware was built for a smaller model", "rebuild and flash the firmware"),
}
"""kt_status (below 64) and the agent's own codes: (what, hint)."""


def check_status(status: int, where: str) -> None:
    """Raise DeviceError unless status is 0."""
    if status != 0:
        raise DeviceError(where, *STATUS.get(status, (f"unknown status {status}", "rebuild and flash the firmware")))
