"""The console: pages that show what is in ClickHouse. It reads and writes nothing."""
