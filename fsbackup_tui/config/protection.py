"""How points are encrypted, signed, and how their parts are shown to fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from fsbackup_tui.config.values import NAME_PATTERN, SecretDescription, Settings, Telling
from fsbackup_tui.domain.links import parse_template

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class FormerKey(Settings):
    """What opens points that were encrypted before the key was changed, until they are rekeyed."""

    passphrase: SecretDescription | None = None
    identity: SecretDescription | None = None
    identity_passphrase: SecretDescription | None = None
    keyring: Path | None = None

    @model_validator(mode="after")
    def _opens_something(self) -> FormerKey:
        given = [self.passphrase, self.identity, self.keyring]
        if sum(one is not None for one in given) != 1:
            raise ValueError("name one of passphrase, identity and keyring")
        return self


class Encryption(Settings):
    """How every part is encrypted that does not say ``plaintext: true``.

    With ``passphrase`` alone, or neither: symmetric, and the passphrase is asked for where
    nothing tells it. With ``recipients`` (gpg key ids or addresses; age public keys) the machine
    can't read its own backups, unless ``identity`` (age) or gpg's keyring has the private key.
    ``hint`` says to a person where the key is kept. ``keyring`` is gpg's home directory, where it
    is not the user's own; ``identity_passphrase`` opens the private key, of either method.
    ``former`` opens points that another key encrypted.
    """

    method: Literal["gpg", "age"]
    passphrase: SecretDescription | None = None
    recipients: tuple[Words, ...] = ()
    identity: SecretDescription | None = None
    identity_passphrase: SecretDescription | None = None
    keyring: Path | None = None
    hint: Telling | None = None
    former: tuple[FormerKey, ...] = ()

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Encryption:
        if self.recipients and self.passphrase is not None:
            raise ValueError("passphrase and recipients exclude each other: take one of them")
        if self.identity is not None and self.method != "age":
            raise ValueError("identity is for age; gpg looks for the private key in its keyring")
        if self.identity is not None and not self.recipients:
            raise ValueError("identity belongs to recipients: name the public keys, too")
        if self.keyring is not None and self.method != "gpg":
            raise ValueError("keyring is for gpg; an age private key is named by identity")
        return self


class Signing(Settings):
    """Who signs new points, and whose signatures are demanded of a point before its restore.

    ``ssh``: ``key`` is a private key file, ``allowed`` a file of allowed signers (ssh-keygen(1),
    ALLOWED SIGNERS). ``gpg``: ``key`` is a key id or address, ``allowed`` full fingerprints.
    """

    method: Literal["ssh", "gpg"]
    key: Words | None = None
    passphrase: SecretDescription | None = None
    allowed_signers: Path | None = None
    allowed: tuple[Words, ...] = ()
    required: bool = False
    keyring: Path | None = None

    @model_validator(mode="after")
    def _somebody_is_allowed(self) -> Signing:
        if self.method == "ssh" and self.allowed:
            raise ValueError("allowed is for gpg; for ssh write allowed_signers: FILE")
        if self.method == "gpg" and self.allowed_signers is not None:
            raise ValueError("allowed_signers is for ssh; for gpg write allowed: [FINGERPRINT]")
        if self.required and not (self.allowed or self.allowed_signers):
            raise ValueError("required needs to know whose signature counts: name who is allowed")
        if self.method == "ssh" and self.key is None and self.allowed_signers is None:
            raise ValueError("name a key to sign with, or allowed_signers, or both")
        if self.method == "gpg" and self.key is None and not self.allowed:
            raise ValueError("name a key to sign with, or who is allowed, or both")
        return self


class Link(Settings):
    """A column whose values name files of a files source.

    ``path`` is a template over the table's columns, ``{column}``, that gives the path below the
    source's root; without it the column's value is the path. ``strip`` is cut from the front of
    the result (``/uploads/``, ``https://cdn.example.org/``). ``size`` and ``sha256`` are columns
    with the file's size in bytes and its hash in hexadecimal. ``where`` narrows the rows.
    """

    table: Words
    column: Words
    files: Annotated[str, Field(pattern=NAME_PATTERN)]
    source: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    path: Words | None = None
    strip: tuple[Words, ...] = ()
    size: Words | None = None
    sha256: Words | None = None
    where: Words | None = None

    @model_validator(mode="after")
    def _path_is_a_template(self) -> Link:
        if self.path is not None:
            parse_template(self.path)
        return self
