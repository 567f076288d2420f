"""What fsbackup decides: pure values and rules, no input or output, no clock."""
