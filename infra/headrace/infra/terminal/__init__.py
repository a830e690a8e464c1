"""What commands show while they work: live lines, part lines, log lines."""
