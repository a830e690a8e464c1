"""The stream processors: pure cores (assemble, reward, credit) and the Faust host that runs them.

Nothing is imported here, so that a core can be used without Kafka, Faust or ClickHouse.
"""
