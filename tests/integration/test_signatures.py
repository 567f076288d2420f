"""Signed points: by whom, and that what is not ours is restored for a written reason alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fsbackup_tui.domain.errors import NotSigned, SafetyRefusal
from fsbackup_tui.domain.events import Event, Warned
from fsbackup_tui.domain.signature import GPG_SIGNATURE_NAME, SSH_SIGNATURE_NAME, Signature
from fsbackup_tui.operations import drill, proof, verify
from fsbackup_tui.operations.context import JobContext
from fsbackup_tui.operations.doctor_signing import check_signing
from fsbackup_tui.operations.proof import prove_part
from fsbackup_tui.operations.requests import DrillRequest, RestoreBesideRequest, VerifyRequest
from fsbackup_tui.operations.restore_from import check_seals, open_source
from fsbackup_tui.operations.signatures import point_signing, signature_in
from fsbackup_tui.repository.layout import Repository, open_repository
from fsbackup_tui.repository.reader import PointReader
from tests.support.contexts import context_of
from tests.support.points import START, begin_point, part, table
from tests.support.points import write_part as write_part_of
from tests.support.resealing import reseal
from tests.support.signing_keys import PASSPHRASE, SshKeys, gpg_keyring, make_ssh_keys
from tests.support.sites import Site, make_site

pytestmark = pytest.mark.machine
SECRET = {"SIGNING": PASSPHRASE}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SshKeys:
    return make_ssh_keys(tmp_path_factory.mktemp("ssh") / "keys")


@dataclass
class Bench:
    """A site that signs, and what its jobs told."""

    site: Site
    told: list[Event]

    @property
    def repository(self) -> Repository:
        return open_repository(self.site.repository)

    def context(self) -> JobContext:
        return context_of(self.site, self.told.append)

    async def make_point(self, content: bytes = b"dump") -> str:
        """Write a point as a backup does: tried before, signed at the end."""
        signing = await point_signing(self.context())
        writer = begin_point(self.repository)
        write_part_of(writer, part(tables=[table("videos", 5340)]), content)
        manifest = await asyncio.to_thread(writer.finish, {}, now=START, sign=signing)
        return manifest.id

    async def look(self, point: str) -> Signature:
        return await signature_in(self.context(), PointReader(self.repository, point))

    async def restore(self, point: str, reason: str = "") -> None:
        """Do of a restore what comes before anything is created."""
        request = RestoreBesideRequest(point, "db", "beside", reason_unsigned=reason)
        context = self.context()
        source = await open_source(request, context)
        await check_seals(source, context, reason_unsigned=request.reason_unsigned)

    async def verify(self, point: str) -> dict[str, Any]:
        return await verify.run(VerifyRequest(point, "sealed"), self.context())


def bench(directory: Path, **signing: object) -> Bench:
    site = make_site(directory, "postgresql:///nowhere", settings={"signing": signing})
    site.environment |= SECRET
    return Bench(site, [])


def of_ssh(directory: Path, keys: SshKeys, who: str = "ana", **more: object) -> Bench:
    settings: dict[str, object] = {
        "method": "ssh",
        "key": str(keys.directory / who),
        "passphrase": {"env": "SIGNING"},
        "allowed_signers": str(keys.allowed),
        "required": True,
    }
    return bench(directory, **{**settings, **more})


def said_by(*words: str, **variables: str) -> str:
    """Return what a stock tool prints."""
    environment = {"PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def holding(directory: Path, secret: str) -> list[Path]:
    """Return the files that a secret stands in."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]


def forge(bench: Bench, point: str) -> None:
    """Exchange the dump and the manifest, and let all sums be those of what lies there."""
    directory = bench.repository.point_directory(point)
    (directory / "db" / "database.dump").write_bytes(b"DROP")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["reason"] = "nothing to see here"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    reseal(bench.repository, point)


async def test_a_point_that_ana_signed_is_restored(tmp_path: Path, keys: SshKeys) -> None:
    signed = of_ssh(tmp_path / "site", keys)
    point = await signed.make_point()
    found = await signed.look(point)
    fingerprint = said_by("ssh-keygen", "-l", "-f", f"{keys.ana}.pub").split()[1]
    assert found.text == f"signed by ana@example.org, ED25519 {fingerprint}"
    document = await signed.verify(point)
    assert (document["ok"], document["signature"]["state"]) == (True, "good")
    await signed.restore(point)
    shown = signed.site.run("show", point, "--json")
    assert shown.document["signature"]["signer"] == "ana@example.org"
    assert "signed by ana@example.org" in signed.site.run("show", point).stdout
    # The commands of RECOVER.md say so without fsbackup.
    directory = signed.repository.point_directory(point)
    text = (directory / "RECOVER.md").read_text()
    chapter = text.partition("## See who made it")[2].partition("```sh\n")[2].partition("```")[0]
    told = said_by("sh", "-ec", f"cd {directory}\n{chapter}", ALLOWED_SIGNERS=str(keys.allowed))
    assert 'Good "fsbackup" signature for ana@example.org' in told
    assert not holding(tmp_path, PASSPHRASE)


Harm = Callable[[Bench, str], object]


def strip(bench: Bench, point: str) -> None:
    (bench.repository.point_directory(point) / SSH_SIGNATURE_NAME).unlink()


def truncate(bench: Bench, point: str) -> None:
    path = bench.repository.point_directory(point) / SSH_SIGNATURE_NAME
    path.write_bytes(path.read_bytes()[:-60])


def point_elsewhere(bench: Bench, point: str) -> None:
    path = bench.repository.point_directory(point) / SSH_SIGNATURE_NAME
    path.rename(path.with_suffix(".was"))
    path.symlink_to(path.with_suffix(".was"))


def exchange_manifest(bench: Bench, point: str) -> None:
    """The sums and their signature stay; what is read first is another."""
    path = bench.repository.point_directory(point) / "manifest.json"
    path.write_text(path.read_text().replace('"daily"', '"DAILY"', 1))


@pytest.mark.parametrize(
    ("harm", "state", "trust"),
    [
        (forge, "broken", "damaged"),
        (strip, "absent", "sealed"),
        (truncate, "broken", "damaged"),
        (point_elsewhere, "broken", "damaged"),
        (exchange_manifest, "broken", "damaged"),
    ],
)
async def test_what_is_not_signed_as_it_lies_there_is_refused(
    tmp_path: Path,
    keys: SshKeys,
    monkeypatch: pytest.MonkeyPatch,
    harm: Harm,
    state: str,
    trust: str,
) -> None:
    signed = of_ssh(tmp_path / "site", keys)
    point = await signed.make_point()
    harm(signed, point)
    assert (await signed.look(point)).state == state
    with pytest.raises(SafetyRefusal, match="SIGNATURE MISSING"):
        await signed.restore(point)
    with pytest.raises(SafetyRefusal, match="SIGNATURE MISSING"):
        await drill.run(DrillRequest(point, "named"), signed.context())
    document = await signed.verify(point)
    assert (document["ok"], document["trust"]) == (False, trust)
    assert any("igned" in str(one["what"]) or "IGNA" in one["what"] for one in document["problems"])
    # A trial of it runs where it can harm nobody, or not at all.
    monkeypatch.setattr(proof, "runs_as_another_user", lambda: False)
    reader = PointReader(signed.repository, point)
    (database,) = reader.parts()
    tried = await prove_part(signed.context(), signed.repository, reader, database, compare=True)
    assert (tried.restored, tried.place) == ("blocked", "-")
    assert "signature" in tried.blockers[0].what


async def test_a_written_reason_takes_an_unsigned_point(tmp_path: Path, keys: SshKeys) -> None:
    signed = of_ssh(tmp_path / "site", keys)
    point = await signed.make_point()
    strip(signed, point)
    swap = ("restore", point, "--swap", "--confirm", "nowhere", "--reason", "r", "--json")
    refused = signed.site.run(*swap)
    assert (refused.exit_code, refused.error["what"][:17]) == (3, "SIGNATURE MISSING")
    assert signed.site.run("incidents", "--json").document["incidents"] == []
    await signed.restore(point, "taken before we\nsigned, see ticket 12")
    (told,) = [event.text for event in signed.told if isinstance(event, Warned)]
    assert told == (
        f"TAKEN ALTHOUGH NOT SIGNED: {point}, by somebody on here, who wrote: "
        "taken before we signed, see ticket 12"
    )


async def test_a_key_that_nobody_allowed_is_told_and_refused(tmp_path: Path, keys: SshKeys) -> None:
    by_mallory = of_ssh(tmp_path / "site", keys, "mallory", passphrase=None)
    point = await by_mallory.make_point()
    found = await by_mallory.look(point)
    assert found.state == "foreign"
    assert found.text.startswith("signed by a key that nobody allowed, ED25519 SHA256:")
    with pytest.raises(SafetyRefusal, match="nobody allowed"):
        await by_mallory.restore(point)
    (finding,) = await check_signing(
        by_mallory.context().loaded, by_mallory.context().environment, by_mallory.context().redactor
    )
    assert (finding.id, finding.severity) == ("signing", "error")
    # Who may write the list decides whose signature counts.
    keys.allowed.chmod(0o622)
    try:
        found = await by_mallory.look(point)
    finally:
        keys.allowed.chmod(0o600)
    assert found.state == "unchecked"
    document = await by_mallory.verify(point)
    assert not document["ok"]
    relaxed = of_ssh(tmp_path / "other", keys, "mallory", passphrase=None, required=False)
    await relaxed.restore(await relaxed.make_point())


async def test_a_key_that_cannot_sign_stops_the_backup_before_it_begins(
    tmp_path: Path, keys: SshKeys
) -> None:
    site = of_ssh(tmp_path / "site", keys)
    site.site.environment["SIGNING"] = "another"
    with pytest.raises(NotSigned, match="can't sign") as raised:
        await site.make_point()
    assert "incorrect passphrase" in raised.value.why
    assert list((site.repository.points).iterdir()) == []


async def test_a_signature_that_fails_at_the_end_takes_no_point_away(
    tmp_path: Path, keys: SshKeys
) -> None:
    signed = of_ssh(tmp_path / "site", keys)
    signing = await point_signing(signed.context())
    writer = begin_point(signed.repository)
    write_part_of(writer, part(tables=[table("videos", 1)]))
    moved = keys.ana.rename(keys.directory / "away")
    try:
        manifest = await asyncio.to_thread(writer.finish, {}, now=START, sign=signing)
    finally:
        moved.rename(keys.ana)
    assert (await signed.look(manifest.id)).state == "absent"
    assert any("UNSIGNED" in event.text for event in signed.told if isinstance(event, Warned))


async def test_gpg_signs_and_tells(tmp_path: Path) -> None:
    with gpg_keyring() as (keyring, fingerprints):
        settings: dict[str, object] = {
            "method": "gpg",
            "key": "ana@example.org",
            "passphrase": {"env": "SIGNING"},
            "keyring": str(keyring),
            "allowed": [fingerprints["ana"]],
            "required": True,
        }
        # First, while no agent remembers the right one.
        wrong = bench(tmp_path / "wrong", **settings)
        wrong.site.environment["SIGNING"] = "another"
        with pytest.raises(NotSigned, match="can't sign"):
            await wrong.make_point()
        signed = bench(tmp_path / "site", **settings)
        point = await signed.make_point()
        found = await signed.look(point)
        assert found.text == f"signed by ana@example.org, EdDSA {fingerprints['ana']}"
        assert (await signed.verify(point))["ok"]
        (finding,) = await check_signing(
            signed.context().loaded, signed.context().environment, signed.context().redactor
        )
        assert finding.severity == "ok"
        forge(signed, point)
        assert (await signed.look(point)).state == "broken"
        other = bench(tmp_path / "other", **{**settings, "key": "mallory@example.org"})
        foreign = await other.make_point()
        assert (await other.look(foreign)).state == "foreign"
        with pytest.raises(SafetyRefusal, match="nobody allowed"):
            await other.restore(foreign)
        path = other.repository.point_directory(foreign) / GPG_SIGNATURE_NAME
        path.write_bytes(path.read_bytes()[:100])
        assert (await other.look(foreign)).state == "broken"


def revoke(keyring: Path, fingerprint: str) -> None:
    revocation = keyring / "openpgp-revocs.d" / f"{fingerprint}.rev"
    # It is made unusable by a colon, so that nobody imports it by mistake.
    text = revocation.read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg = ["gpg", "--homedir", str(keyring), "-q", "--batch", "--import"]
    subprocess.run(gpg, input=text, text=True, check=True)


async def test_a_revoked_key_of_gpg_is_called_revoked(tmp_path: Path) -> None:
    """Not one that nobody allowed: the configuration names it."""
    with gpg_keyring() as (keyring, fingerprints):
        fingerprint = fingerprints["mallory"]
        settings: dict[str, object] = {
            "method": "gpg",
            "key": fingerprint,
            "keyring": str(keyring),
            "allowed": [fingerprint],
            "required": True,
        }
        signed = bench(tmp_path / "site", **settings)
        point = await signed.make_point()
        assert (await signed.look(point)).state == "good"
        revoke(keyring, fingerprint)
        found = await signed.look(point)
        assert found.state == "foreign"
        assert found.text == (
            f"signed by mallory@example.org, EdDSA {fingerprint}, which does not count "
            "(its key was revoked)"
        )
        with pytest.raises(SafetyRefusal, match="revoked"):
            await signed.restore(point)
        (finding,) = await check_signing(
            signed.context().loaded, signed.context().environment, signed.context().redactor
        )
        assert (finding.severity, "expired or revoked" in finding.fix) == ("error", True)
