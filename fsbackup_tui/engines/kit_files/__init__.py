"""What a recovery kit installs fsbackup with: a shell script and what it runs."""
