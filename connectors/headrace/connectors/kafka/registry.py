"""Schema registry: any one that speaks the Confluent API (Apicurio's is embedded)."""

import json
import time
from typing import Any

from confluent_kafka.schema_registry import Schema as RegistrySchema
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from httpx2 import Client as HttpClient

from headrace.connectors.loopback import is_loopback_url
from headrace.schemas.codec import SCHEMA_FILES, schema_text
from headrace.schemas.errors import RegistryUnavailable, SchemaError, UnknownSchemaId

COMPATIBILITY = "FULL_TRANSITIVE"
NOT_FOUND = 404
_NO_PROXY = "http://127.0.0.1:9"  # named and never asked


def subject_of(topic: str) -> str:
    """`<topic>-value` (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


def registry_client(url: str, **settings: Any) -> SchemaRegistryClient:
    """Confluent's client; on the way to this machine no proxy of the environment counts.

    Raises:
        RegistryUnavailable: the environment's proxy cannot be used.
    """
    if not all(is_loopback_url(each.strip()) for each in url.split(",")):
        try:
            return SchemaRegistryClient.new_client({"url": url, **settings})
        except (ImportError, ValueError) as error:
            raise RegistryUnavailable(
                f"the schema registry at {url} cannot be asked: {error}. Check its URL and the "
                "proxies that HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name, or list its host in "
                "NO_PROXY"
            ) from error
    # The client cannot be told to leave the environment alone. With a proxy of its own it does,
    # and is then given a session without any.
    client = SchemaRegistryClient.new_client({"url": url, **settings, "proxy": _NO_PROXY})
    rest = client._rest_client
    rest.session.close()
    rest.session = HttpClient(
        verify=rest.verify, auth=rest.auth, timeout=rest.timeout, trust_env=False
    )
    return client


class Registry:
    """Ids and schemas of our topics, asked of a registry and kept."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self._client = registry_client(url, **settings)
        self._ids: dict[str, int] = {}

    def register_all(self) -> dict[str, int]:
        """Register the schema of every topic; returns the ids. Idempotent.

        Raises SchemaError where a schema is not compatible with what is registered, and
        RegistryUnavailable where the registry does not answer.
        """
        return {topic: self.schema_id(topic) for topic in SCHEMA_FILES}

    def schema_id(self, topic: str) -> int:
        """Id of the topic's schema, registered if it is not yet."""
        if topic not in self._ids:
            schema = RegistrySchema(schema_text(topic), schema_type="AVRO")
            try:
                self._ids[topic] = self._client.register_schema(subject_of(topic), schema)
            except SchemaRegistryError as error:
                raise SchemaError(
                    f"the registry at {self.url} refused the schema of {topic} "
                    f"(it must be {COMPATIBILITY} with the registered ones): {error}"
                ) from error
            except Exception as error:  # the client lets its HTTP library's errors through
                raise RegistryUnavailable(
                    f"no answer from the schema registry at {self.url}: {error}"
                ) from error
        return self._ids[topic]

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """Schema of an id; raises UnknownSchemaId or RegistryUnavailable."""
        try:
            schema = self._client.get_schema(schema_id)
        except SchemaRegistryError as error:
            if error.http_status_code == NOT_FOUND:
                raise UnknownSchemaId(
                    f"the registry at {self.url} has no schema {schema_id}"
                ) from error
            raise RegistryUnavailable(
                f"the registry at {self.url} failed on schema {schema_id}: {error}"
            ) from error
        except Exception as error:  # the client lets its HTTP library's errors through
            raise RegistryUnavailable(
                f"no answer from the schema registry at {self.url}: {error}"
            ) from error
        parsed: dict[str, Any] = json.loads(schema.schema_str or "{}")
        return parsed

    def close(self) -> None:
        """Close the connections to the registry."""
        self._client.close()

    def wait_until_up(self, timeout: float, interval: float = 0.2) -> None:
        """Return when the registry answers; raises RegistryUnavailable after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                self._client.get_subjects()
                return
            except Exception as error:  # any failure means: not up yet
                if time.monotonic() > end:
                    raise RegistryUnavailable(
                        f"the schema registry at {self.url} did not answer within {timeout:.0f} s"
                    ) from error
            time.sleep(interval)
