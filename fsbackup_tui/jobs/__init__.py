"""Jobs: one worker process each, a journal, and what starts, follows and ends them."""
