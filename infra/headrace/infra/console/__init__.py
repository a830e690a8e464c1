"""The console: pages that show what stands in ClickHouse. It reads and writes nothing."""
