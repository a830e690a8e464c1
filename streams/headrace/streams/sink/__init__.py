"""The sink: outcomes, policies, tasks and dead letters from their topics into ClickHouse."""
