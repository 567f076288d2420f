"""What is told of files after they were put back."""

from types import SimpleNamespace
from typing import cast

from fsbackup_tui.domain.tree import FilesLook, RowFit
from fsbackup_tui.recovery.actions.action import Situation
from fsbackup_tui.recovery.actions.files_back import after_lines


def test_rows_that_could_not_be_read_lack_nothing_by_nobodys_word() -> None:
    row = RowFit("videos", "path", None, note="SERVER NOT REACHED: db1")
    look = FilesLook("uploads", "p1", "/srv/storage", exists=True, files=3, rows=(row,))
    situation = cast(Situation, SimpleNamespace(facts=SimpleNamespace(files_after=look)))
    told = "\n".join(after_lines(situation))
    assert "live wants" not in told
    assert "NOT READ" in told
    assert "SERVER NOT REACHED: db1" in told
    assert "0 of" not in told
