"""Trees of files that stand live, and those beside them: reached, filled, exchanged, taken away.

Everything below a root is reached from its descriptor, component by component, and never through
a symbolic link: a live tree belongs to whoever uploads into it.
"""
