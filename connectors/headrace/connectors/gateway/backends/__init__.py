"""What answers a call: our own engine, or an upstream that only telemetry is kept of."""
