"""The ways in and out of headrace: SDK, gateway, engines, Kafka and ClickHouse clients."""
