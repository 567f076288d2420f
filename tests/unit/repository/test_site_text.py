"""The config a point keeps names secrets, and holds none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from fsbackup_tui.config.model import SiteConfig
from fsbackup_tui.config.values import SecretText
from fsbackup_tui.repository.site_text import mask_config


@pytest.mark.parametrize(
    "text",
    [
        "url: postgresql://app:hunter2@db1:5432/x",
        "url: 'postgresql://app:hunter2@db1/x?sslmode=require'",
        'url: "postgresql://app:hun\\x74er2@db1/x"',
        "url: postgresql://app:a@hunter2/b@db1/x",
        "url: postgresql://app:hunter2?@db1/x",
        "url: postgresql://:hunter2@db1/x",
        "url: ${DATABASE_URL:-postgresql://app:hunter2@db1/x}",
        "url: postgresql://${APP:-app}:hunter2@db1/x",
        "url: postgresql://app:${PW:-hunter2}@db1/x",
        "url: postgresql://app@db1/x?password=hunter2&sslmode=require",
        "url: postgresql://db1/x?sslpassword=hunter2",
        "url: host=db1 user=app password=hunter2 dbname=x",
        "url: host=db1 password='it''s hunter2' dbname=x",
        "url: ${DIRECT_URL:-host=db1 password=hunter2}",
        "url: {text: 'postgresql://app:hunter2@db1/x'}",
        "sources:\n  - postgresql://app:hunter2@db1/x\n  - plain",
        "url: |\n  postgresql://app:hunter2@db1/x\nnext: 1",
        "url: >-\n  postgresql://app:hunter2@db1/x\nnext: 1",
        "url: x  # was postgresql://app:hunter2@db1/x",
        "# old: password=hunter2\nurl: x",
        "broken: [ postgresql://app:hunter2@db1/x",
        "a: &u postgresql://app:hunter2@db1/x\nb: *u",
        "encryption: {method: gpg, passphrase: hunter2}",
        "encryption:\n  passphrase: {text: hunter2}",
        "encryption:\n  passphrase: |\n    hunter2\n  method: age",
        "passphrase: '${PASSPHRASE:-hunter2}'",
        "identity_passphrase: hunter2",
        "replicas: {s3: {url: 's3://b/x', retain_with: {access_key: id, secret_key: hunter2}}}",
        "replicas:\n  s3:\n    retain_with:\n      password: hunter2",
        "encryption: {former: [{passphrase: hunter2}]}",
        "notify: {to: ['slack://hunter2/b/c']}",
        "notify:\n  to:\n  - {text: 'https://hooks.example.org/hunter2'}\n  - ${NOTIFY_URL}",
        "notify: {to: ['${NOTIFY_URL:-slack://hunter2/b/c}']}",
        "notify: {to: ['mailto://${SMTP_USER}:hunter2@mail.example.org']}",
        "notify: {ping: {daily: 'https://hc-ping.com/hunter2'}}",
        "x: y  # slack://hunter2/b/c",
        "x: y  # secret_key: hunter2",
        "x: y  # passphrase: hunter2",
        "broken: [\npassphrase: hunter2",
        "identity: AGE-SECRET-KEY-1hunter2\n# AGE-SECRET-KEY-1Qhunter2",
    ],
)
def test_no_literal_password_is_kept(text: str) -> None:
    masked = mask_config(text)
    assert "hunter2" not in masked
    assert "hun\\x74er2" not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "url: ${DATABASE_URL}",
        "url: postgresql://app:${PW}@db1/x",
        "url: ${DIRECT_URL:-${DATABASE_URL}}  # which one: see doctor",
        "url: {env: DATABASE_URL}",
        "url: {file: /run/secrets/url}",
        "url: {command: [pass, show, site/url]}",
        "url: postgresql://app@db1/x",
        "# mail ana@example.org: all of it\nsite: face-swap\n\n\nplans: {daily: {sources: [db]}}\n",
        "at: 12:30",
        "passphrase: {env: FSBACKUP_PASSPHRASE}",
        "notify:\n  to: ['${NOTIFY_URL}', 'mailto://fsbackup:${PW}@mail.example.org?to=ana']\n",
        "notify: {on: critical, to: [{env: NOTIFY_URL}, {file: /run/notify}]}",
        "# see https://docs.example.org/replicas and s3://bucket/shop\nsite: shop",
        "passphrase: ${FSBACKUP_PASSPHRASE}\nidentity: {file: /root/key}",
    ],
)
def test_what_holds_no_secret_stays_as_it_was(text: str) -> None:
    assert mask_config(text) == text


def test_it_stays_the_same_yaml_but_for_the_secret() -> None:
    text = (
        "site: face-swap # the site\n"
        "sources:\n"
        "  db: {kind: postgres, url: 'postgresql://app:hunter2@db1/x', jobs: 2}\n"
        "  other:\n"
        "    url: |\n"
        "      postgresql://app:hunter2@db2/y\n"
        "    jobs: 3\n"
    )
    before, after = yaml.safe_load(text), yaml.safe_load(mask_config(text))
    assert after["sources"]["db"] == {
        **before["sources"]["db"],
        "url": "postgresql://app:***@db1/x",
    }
    assert after["sources"]["other"]["url"].strip() == "postgresql://app:***@db2/y"
    assert after["sources"]["other"]["jobs"] == 3
    assert "# the site" in mask_config(text)


def test_every_secret_that_the_schema_knows_is_masked() -> None:
    """A new secret setting can't be forgotten: the models themselves say which there are."""
    places = list(secret_places(SiteConfig))
    assert ("replicas", "any", "retain_with", "secret_key") in places
    assert ("notify", "ping", "any") in places
    for place in places:
        is_connection = bool({"url", "poolers", "standbys"} & {*place[-2:]})
        secret = "postgresql://app:hunter2@db1/x" if is_connection else "hunter2"
        for value in (secret, {"text": secret}):
            text = yaml.safe_dump(nested(place, value))
            assert "hunter2" not in mask_config(text), place


def secret_places(annotation: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the models have a secret; ``any`` stands for a name, 0 for a list's first."""
    origin = get_origin(annotation)
    if origin is dict:
        yield from secret_places(get_args(annotation)[1], (*place, "any"))
    elif origin in (list, tuple):
        yield from secret_places(get_args(annotation)[0], (*place, 0))
    elif origin is not None:
        for member in get_args(annotation):
            yield from secret_places(member, place)
    elif annotation is SecretText:
        yield place
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from secret_places(field.annotation, (*place, name))


def nested(place: tuple[Any, ...], value: object) -> object:
    for step in reversed(place):
        value = [value] if step == 0 else {step: value}
    return value
