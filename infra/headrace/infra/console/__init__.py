"""The console: pages that show what is in ClickHouse. Feedback is all it gives: to the gateway."""
