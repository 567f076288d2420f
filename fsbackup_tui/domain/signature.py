"""What was found out about the signature of a point: the value that every face tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SignatureState = Literal["good", "foreign", "broken", "absent", "unchecked"]
"""``good``: by somebody who is allowed. ``foreign``: whole, by a key that nobody allowed.
``broken``: it is not a signature of what lies there. ``absent``: there is none. ``unchecked``:
there is one, and it can't be told here whose it is.
"""

SIGNATURE_NAMESPACE = "fsbackup"
"""What an ssh signature is for (ssh-keygen(1), ``-n``): one of git's or of mail's is none."""

SSH_SIGNATURE_NAME = "SHA256SUMS.sig"
GPG_SIGNATURE_NAME = "SHA256SUMS.asc"
SIGNATURE_NAMES = (SSH_SIGNATURE_NAME, GPG_SIGNATURE_NAME)


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed a point, as far as it can be told; ``signer`` is a principal or a user id.

    ``key`` is the key's type and fingerprint, ``note`` why it is broken or could not be checked.
    """

    state: SignatureState
    signer: str = ""
    key: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The sentence for people."""
        by = ", ".join(filter(None, (self.signer, self.key)))
        match self.state:
            case "good":
                words = f"signed by {by}"
            case "foreign" if self.signer and self.note:
                words = f"signed by {by}, which does not count"
            case "foreign":
                words = f"signed by a key that nobody allowed{f', {by}' if by else ''}"
            case "broken":
                return f"SIGNATURE BROKEN: {self.note}"
            case "absent":
                words = "not signed"
            case "unchecked":
                words = f"signed{f' by {by}' if by else ''}, not checked"
        return f"{words} ({self.note})" if self.note else words

    @property
    def words(self) -> str:
        """The sentence, to be told in the middle of another."""
        return self.text if self.state != "broken" else f"signed, but not so: {self.note}"

    def document(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "state": self.state,
            "signer": self.signer or None,
            "key": self.key or None,
            "note": self.note,
            "text": self.text,
        }
