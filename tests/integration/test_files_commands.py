"""Files back on the command line: confirmed by the root's name, each in an incident of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.file_sites import PART, FileSite, make_file_site, snapshot
from tests.support.sites import demand_signatures


def incidents(files: FileSite) -> list[dict[str, object]]:
    listed = files.site.run("incidents", "--json").document["incidents"]
    assert isinstance(listed, list)
    return listed


def test_files_come_back_by_commands(tmp_path: Path) -> None:
    files = make_file_site(tmp_path, verify="proven")
    files.back_up()
    live, run = files.root, files.site.run
    shutil.rmtree(live / "videos")
    (live / "faces/1.jpg").unlink()
    (live / "faces/2.jpg").write_bytes(b"a user's newer face")
    damaged = snapshot(live, times=True)

    put_back = ("restore", "latest", "--part", PART, "--put-back")
    for more in ((), ("--confirm", "another")):
        refused = run(*put_back, *more, "--json")
        assert refused.exit_code == 4, refused.stdout + refused.stderr
        assert "--confirm storage" in refused.error["fix"]
    assert (run("restore", "latest", "--part", PART).exit_code) == 2
    assert snapshot(live, times=True) == damaged
    assert incidents(files) == []

    done = run(*put_back, "--confirm", "storage")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert "3 files" in done.stdout
    (incident,) = incidents(files)
    assert incident["state"] == "closed", incident
    after = snapshot(live, times=True)
    assert after.keys() == files.before.keys()
    assert after["faces/2.jpg"] == damaged["faces/2.jpg"]

    # Where no row names files, all that is missing is what is put back anyway.
    (live / "faces/1.jpg").unlink()
    done = run(*put_back, "--all-missing", "--confirm", "storage", "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.document["entries"]["restored"] == 1
    assert (live / "faces/1.jpg").is_file()

    (live / "faces/1.jpg").unlink()
    exchange = run("restore", "latest", "--part", PART, "--exchange", "--confirm", "storage")
    assert exchange.exit_code == 0, exchange.stdout + exchange.stderr
    assert "faces/1.jpg" in snapshot(live)
    (live / "since.jpg").write_bytes(b"written since")
    newest = str(incidents(files)[0]["id"])
    back = run("rollback", "--incident", newest, "--confirm", "storage", "--json")
    assert back.exit_code == 0, back.stdout + back.stderr
    assert back.document["rolled_back_tree"]["carried"]["names"] == ["since.jpg"]
    assert (live / "since.jpg").read_bytes() == b"written since"
    assert "faces/1.jpg" not in snapshot(live)
    assert Path(back.document["kept_as"]).name in files.beside


def test_a_site_of_many_sources_needs_no_name_of_the_only_one_that_fits(tmp_path: Path) -> None:
    """As README writes it: by pattern without a part; what is left, of all there is."""
    files = make_file_site(tmp_path, verify="proven")
    settings = json.loads(files.site.config.read_text())
    (tmp_path / "page").write_text("x")
    settings["sources"]["env"] = {
        "kind": "config",
        "files": [str(tmp_path / "page")],
        "plaintext": True,
    }
    for name, host in (("db", "one"), ("schema", "one"), ("other", "two")):
        url = f"postgresql://ana@/shop?host={tmp_path}/{host}"
        settings["sources"][name] = {"kind": "postgres", "url": url}
    for plan in settings["plans"].values():
        plan["sources"].append("env")
    files.site.config.write_text(json.dumps(settings))
    files.back_up()
    (files.root / "faces/1.jpg").unlink()
    done = files.site.run("restore", "latest", "--files", "faces/*", "--confirm", "storage")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert (files.root / "faces/1.jpg").is_file()
    beside = files.site.run("restore", "latest", "--beside", "--json")
    assert beside.exit_code == 0, beside.stdout + beside.stderr

    left = files.site.run("leftovers", "--json")
    assert left.exit_code == 0, left.stdout + left.stderr
    (tree,) = left.document["leftovers"]
    assert tree["name"] == Path(beside.document["tree"]).name
    told = " ".join(left.document["notes"])
    # The schema lies where the database does: it is not looked at twice.
    assert (told.count(f"{tmp_path}/one"), told.count(f"{tmp_path}/two")) == (1, 1), told
    dropped = files.site.run("leftovers", "--drop", tree["name"], "--confirm", tree["name"])
    assert dropped.exit_code == 0, dropped.stdout + dropped.stderr
    assert files.beside == []


def test_files_are_extracted_beside_and_elsewhere(tmp_path: Path) -> None:
    files = make_file_site(tmp_path, verify="proven")
    files.back_up()
    before = snapshot(files.root.parent, times=True)
    target = tmp_path / "elsewhere"
    done = files.site.run("restore", "latest", "--part", PART, "--to", str(target), "--json")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert snapshot(target, times=True) == files.before
    # The only part that fits needs no name.
    unnamed = files.site.run("restore", "latest", "--to", str(tmp_path / "unnamed"), "--json")
    assert unnamed.exit_code == 0, unnamed.stdout + unnamed.stderr
    assert snapshot(tmp_path / "unnamed", times=True) == files.before
    other_kind = files.site.run("restore", "latest", "--diff")
    assert other_kind.exit_code == 2
    assert "WHICH PART?" in other_kind.stderr
    assert snapshot(files.root.parent, times=True) == before
    for again in (target, files.root / "x", files.site.repository / "x"):
        refused = files.site.run("restore", "latest", "--part", PART, "--to", str(again))
        assert refused.exit_code == 3, refused.stderr
    for together in (
        ("--put-back", "--conflict", "newer"),
        ("--exchange", "--files", "a*"),
        ("--to", str(target), "--confirm", "storage"),
        ("--put-back", "--jobs", "2"),
        ("--diff",),
        ("--swap", "--files", "a*"),
    ):
        refused = files.site.run("restore", "latest", "--part", PART, *together)
        assert refused.exit_code == 2, together
    beside = files.site.run("restore", "latest", "--part", PART, "--beside", "--json")
    assert beside.exit_code == 0, beside.stdout + beside.stderr
    assert snapshot(Path(beside.document["tree"]), times=True) == files.before
    tree = Path(beside.document["tree"])
    (left,) = files.site.run("leftovers", "--json").document["leftovers"]
    assert (left["kind"], left["name"]) == ("restore", tree.name)
    assert left["what"] == f"a restored tree, beside {files.root}"
    unconfirmed = files.site.run("leftovers", "--drop", tree.name, "--confirm", "no")
    assert unconfirmed.exit_code == 4
    dropped = files.site.run("leftovers", "--drop", tree.name, "--confirm", tree.name)
    assert dropped.exit_code == 0, dropped.stderr
    assert snapshot(files.root.parent, times=True) == before


def test_what_lacks_a_reason_is_no_incident_that_stays_open(tmp_path: Path) -> None:
    files = make_file_site(tmp_path)
    files.back_up()
    (files.root / "faces/1.jpg").unlink()
    put_back = ("restore", "latest", "--part", PART, "--put-back", "--confirm", "storage")
    refused = files.site.run(*put_back, "--json")
    assert (refused.exit_code, "--reason TEXT" in refused.error["fix"]) == (2, True)
    assert [incident["state"] for incident in incidents(files)] == ["closed"]
    done = files.site.run(*put_back, "--reason", "there is no other")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert snapshot(files.root, times=True) == files.before
    assert "Way back" in " ".join(done.stdout.split())
    again = files.site.run(*put_back, "--reason", "once more")
    assert "PUT BACK: 0 files" in again.stdout, again.stdout
    assert "Way back" not in " ".join(again.stdout.split())


def test_an_unsigned_tree_comes_back_for_a_reason_of_its_own(tmp_path: Path) -> None:
    files = make_file_site(tmp_path)
    files.back_up()
    (files.root / "faces/1.jpg").unlink()
    demand_signatures(files.site)
    put_back = ("restore", "latest", "--part", PART, "--put-back", "--confirm", "storage")
    refused = files.site.run(*put_back, "--reason", "there is no other", "--json")
    assert refused.exit_code == 3, refused.stdout + refused.stderr
    assert "SIGNATURE MISSING" in refused.error["what"]
    assert "--reason-unsigned TEXT" in refused.error["fix"]
    assert incidents(files) == []
    done = files.site.run(*put_back, "--reason-unsigned", "from before we signed")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert snapshot(files.root, times=True) == files.before
