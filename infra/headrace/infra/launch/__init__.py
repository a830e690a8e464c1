"""From settings to running parts, and to the runners beside them."""
