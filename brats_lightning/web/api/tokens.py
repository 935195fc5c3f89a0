"""The token that lets people in, and the session that a browser keeps instead of it."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from brats_lightning.errors import ConfigError

SHORTEST = 16
SESSION_SECONDS = 12 * 3600
MOST_REVOKED = 10_000


class Tokens:
    """Compares tokens in constant time; makes, checks and revokes sessions.

    A session is its end and a random number, signed with the token: a restarted server with the same token knows it.

    Args:
        token: The secret; None lets everybody in.
        clock: Seconds since 1970.

    Raises:
        ConfigError: A token that can be guessed, or that no header can carry.
    """

    def __init__(self, token: str | None, *, clock: Callable[[], float] = time.time) -> None:
        if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
            raise ConfigError(
                f"--token: expected at least {SHORTEST} letters, digits and signs of ASCII, found {len(token)}"
                f"{'' if token.isascii() and token.isprintable() else ' with others among them'}; "
                "one that nobody guesses: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._revoked: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        """Whether one is needed to come in."""
        return self._token is not None

    def is_right(self, token: str) -> bool:
        """Whether this is the token."""
        return self._token is None or hmac.compare_digest(token.encode(errors="replace"), self._token)

    def new_session(self) -> str:
        """What a browser shows from now on instead of the token."""
        content = f"{int(self._clock()) + SESSION_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{content}.{self._signature(content)}"

    def knows(self, session: str) -> bool:
        """Whether a session was made here, is not over, and has not been ended."""
        content, _, signature = session.rpartition(".")
        signed = hmac.compare_digest(signature.encode(errors="replace"), self._signature(content).encode())
        if not signed:
            return False
        return int(content.partition(".")[0]) > self._clock() and session not in self._revoked

    def revoke(self, session: str) -> None:
        """End a session before its time."""
        if not self.knows(session):
            return
        now = self._clock()
        self._revoked = {each: end for each, end in self._revoked.items() if end > now}
        if len(self._revoked) >= MOST_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[session] = now + SESSION_SECONDS

    def _signature(self, content: str) -> str:
        key = b"session" + (self._token or b"")
        return hmac.new(key, content.encode(errors="replace"), hashlib.sha256).hexdigest()
