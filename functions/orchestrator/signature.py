"""Labelbox's signature of a request: HMAC over the raw body with the shared secret."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

# Code of the reference coordinator and of Labelbox's webhook guide (https://docs.labelbox.com/reference/webhook):
# `x-hub-signature: sha1=<hex>`; the same guide shows `x-hub-signature-256: sha256=<hex>`.
_HEADERS = {
    "x-hub-signature-256": (re.compile(rb"sha256=([0-9a-fA-F]{64})"), hashlib.sha256),
    "x-hub-signature": (re.compile(rb"sha1=([0-9a-fA-F]{40})"), hashlib.sha1),
}


def signed_digest(headers: Mapping[str, str]) -> tuple[str, bytes] | None:
    """The header and the hex digest it carries, or None if it is missing or malformed.

    If both headers are there, the stronger one decides, so that a broken SHA-1 cannot stand in for it.
    """
    for header, (pattern, _) in _HEADERS.items():
        if header in headers:
            match = pattern.fullmatch(headers[header].encode("utf-8", "surrogateescape").strip())
            return (header, match[1].lower()) if match else None
    return None


def is_signed(headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> bool:
    """Whether any of the secrets signed exactly this body. Compared in constant time, as bytes: a header with
    non-ASCII characters is a mismatch, not an exception."""
    signed = signed_digest(headers)
    if signed is None:
        return False
    header, digest = signed
    algorithm = _HEADERS[header][1]
    matches = [
        hmac.compare_digest(hmac.new(secret.encode(), body, algorithm).hexdigest().encode(), digest)
        for secret in secrets
        if secret
    ]
    return any(matches)


def sign(body: bytes, secret: str) -> str:
    """The value of `x-hub-signature` as Labelbox sends it."""
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
