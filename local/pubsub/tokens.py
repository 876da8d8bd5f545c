"""OpenID tokens for pushes: signed with a key of this server's own, and checked as Cloud Run's front door would."""

import hashlib
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.auth.crypt import RSASigner

from local.pubsub.resources import PushTarget

ISSUER = "https://accounts.google.com"
LIFETIME_S = 3600
PUBLIC_KEY_FILE = "token-public-key.pem"


class TokenMint:
    """Makes tokens; the key is new with every start, its public half lies in the state folder."""

    def __init__(self, folder: Path) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / PUBLIC_KEY_FILE).write_bytes(public)
        self._signer = RSASigner.from_string(private, key_id=hashlib.sha256(public).hexdigest()[:40])

    def token(self, target: PushTarget) -> str:
        """A token with the claims that Pub/Sub sends, valid for an hour from now."""
        now = int(time.time())
        subject = str(int(hashlib.sha256(target.service_account.encode()).hexdigest()[:16], 16))
        claims = {
            "aud": target.audience,
            "azp": subject,
            "email": target.service_account,
            "email_verified": True,
            "exp": now + LIFETIME_S,
            "iat": now,
            "iss": ISSUER,
            "sub": subject,
        }
        return str(jwt.encode(self._signer, claims).decode())


def front_door_accepts(target: PushTarget) -> bool:
    """Whether Cloud Run would let the token in: its audience must be the service's own URL, without a path.

    https://cloud.google.com/run/docs/authenticating/service-to-service
    """
    return target.audience == target.origin
