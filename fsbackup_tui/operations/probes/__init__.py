"""The probes of ``check``: each looks at one kind of thing that goes wrong silently."""
