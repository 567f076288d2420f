"""Which grants on ``public`` a copy has already, though nobody could make them there."""

from __future__ import annotations

import pytest

from fsbackup_tui.engines.postgres.public_grants import PublicSchema

USE, ALL = frozenset({"USAGE"}), frozenset({"USAGE", "CREATE"})
NEW = PublicSchema("postgres", False, {"postgres": ALL, "PUBLIC": ALL})


@pytest.mark.parametrize(
    "definition",
    [
        "GRANT USAGE ON SCHEMA public TO reader;\n",
        'GRANT ALL ON SCHEMA public TO "Odd; ""name"" TO PUBLIC";',
        # Its owner was another one, which no dump tells.
        "REVOKE ALL ON SCHEMA public FROM postgres;\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n"
        "GRANT ALL ON SCHEMA public TO app;\nGRANT ALL ON SCHEMA public TO PUBLIC;\n",
        # It was made anew.
        "GRANT ALL ON SCHEMA public TO PUBLIC;",
        "GRANT USAGE, CREATE ON SCHEMA public TO app;",
    ],
)
def test_what_everybody_may_already_is_no_loss(definition: str) -> None:
    assert NEW.has_already(definition)


@pytest.mark.parametrize(
    "definition",
    [
        # The copy would let more people create in it than the captured one did.
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;\nGRANT USAGE ON SCHEMA public TO PUBLIC;",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO app;",
        "GRANT USAGE ON SCHEMA public TO PUBLIC;",
        # What can be passed on, and what is not understood.
        "GRANT USAGE ON SCHEMA public TO reader WITH GRANT OPTION;",
        "SET SESSION AUTHORIZATION app;\nGRANT USAGE ON SCHEMA public TO reader;",
        "GRANT USAGE ON SCHEMA publicity TO reader;",
    ],
)
def test_anything_else_is(definition: str) -> None:
    assert not NEW.has_already(definition)


def test_a_right_that_not_everybody_has_is_lost_without_its_grant() -> None:
    narrow = PublicSchema("postgres", False, {"postgres": ALL, "PUBLIC": USE})
    assert narrow.has_already("GRANT USAGE ON SCHEMA public TO reader;")
    assert not narrow.has_already("GRANT CREATE ON SCHEMA public TO reader;")
    given = PublicSchema("postgres", False, {"PUBLIC": USE, "reader": ALL})
    assert given.has_already("GRANT CREATE ON SCHEMA public TO reader;")


def test_who_may_grant_there_has_no_excuse() -> None:
    ours = PublicSchema("app", True, {"app": ALL, "PUBLIC": ALL})
    assert not ours.has_already("GRANT USAGE ON SCHEMA public TO reader;")
    assert not PublicSchema().has_already("GRANT USAGE ON SCHEMA public TO reader;")
