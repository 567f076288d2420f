"""The modes of the terminal application, one module each with its stylesheet."""
