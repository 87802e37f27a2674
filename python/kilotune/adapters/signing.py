"""Signatures of adapters: EdDSA with BLAKE2b by Monocypher, on both sides. Needs the extra "sign".

A key is a text file of one line: "kilotune secret key HEX" (64 bytes, readable by its owner only) or "kilotune public key HEX" (32 bytes).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kiloc import CompileError

from ..errors import DeviceError
from .file import Adapter

SECRET, PUBLIC = "kilotune secret key ", "kilotune public key "
SECRET_BYTES, PUBLIC_BYTES = 64, 32

Key = bytes | str | os.PathLike[str]
"""The bytes of a key, or the path of its file."""


def _monocypher() -> Any:
    try:
        import monocypher
    except ImportError:
        raise DeviceError("signatures", "the package pymonocypher is not installed", "pip install 'kilotune[sign]'") from None
    return monocypher


def make_keys(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a new pair of keys to path.key and path.pub; existing files are left alone."""
    secret, public = _monocypher().generate_signing_key_pair()
    secret_path, public_path = Path(f"{os.fspath(path)}.key"), Path(f"{os.fspath(path)}.pub")
    made: list[Path] = []
    try:
        for target, text, mode in ((secret_path, SECRET + secret.hex(), 0o600), (public_path, PUBLIC + public.hex(), 0o644)):
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                made.append(target)
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        for target in made:  # half a pair is of no use, and would be in the way of the next
            target.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise ValueError(f"{error.filename} exists: a key is never overwritten") from None
        raise CompileError(f"{os.fspath(path)}.key", f"the keys cannot be written: {error.strerror}", "make room or choose another place") from None
    return secret_path, public_path


def public_key(key: Key) -> bytes:
    """32 bytes of a public key. CompileError where it is none."""
    return _read(key, PUBLIC, PUBLIC_BYTES, "public")


def sign(adapter: Adapter, secret_key: Key) -> Adapter:
    """The adapter with the signature of this key; one that it had is replaced."""
    secret, monocypher = _read(secret_key, SECRET, SECRET_BYTES, "secret"), _monocypher()
    public = bytes(monocypher.compute_signing_public_key(secret))
    return adapter.with_signature(public, lambda message: bytes(monocypher.signature_sign(secret, message)))


def verify(adapter: Adapter, key: Key) -> None:
    """ValueError unless the adapter is signed by the secret key that belongs to this public one."""
    wanted = public_key(key)
    if adapter.signature is None:
        raise ValueError("the adapter is not signed")
    if adapter.public_key != wanted:
        raise ValueError(f"the adapter is signed by the key {(adapter.public_key or b'').hex()}, not by {wanted.hex()}")
    if not _monocypher().signature_check(adapter.signature, wanted, adapter.signed_bytes):
        raise ValueError("the adapter's signature is false: it was changed after it was signed, or signed by someone else")


def _read(key: Key, title: str, size: int, kind: str) -> bytes:
    if isinstance(key, bytes):
        data = key
    else:
        try:
            text = Path(key).read_text().strip()
            data = bytes.fromhex(text.removeprefix(title)) if text.startswith(title) else b""
        except (OSError, ValueError) as error:
            raise CompileError(os.fspath(key), f"the {kind} key cannot be read: {error}", "make keys with `kilotune adapter keys NAME`") from None
    if len(data) != size:
        where = "key" if isinstance(key, bytes) else os.fspath(key)
        raise CompileError(where, f"this is not a {kind} key", "make keys with `kilotune adapter keys NAME`")
    return data
