"""What the site has promised: how much may be lost, and how soon it is back."""

from __future__ import annotations

from fsbackup_tui.config.values import Duration, Settings


class Objectives(Settings):
    """Recovery objectives: ``rpo`` is how old the newest good backup may ever be (what may be
    lost), ``rto`` how long getting it back may take.
    """

    rpo: Duration | None = None
    rto: Duration | None = None
