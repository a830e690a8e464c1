"""Schema registry: any one that speaks the Confluent API (Apicurio's is embedded).

Confluent's client is imported by the first registry that is made: it takes half a second, which
settings and agents that only name a registry need not pay.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headrace.connectors.loopback import is_loopback_url
from headrace.connectors.settings import check, key, pem_file
from headrace.schemas.codec import SCHEMA_FILES, schema_text
from headrace.schemas.errors import RegistryUnavailable, SchemaError, UnknownSchemaId

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

COMPATIBILITY = "FULL_TRANSITIVE"
NOT_FOUND, SERVER_ERROR = 404, 500
_NO_PROXY = "http://127.0.0.1:9"  # named and never asked
SCHEMES = ("http", "https", "mock")  # mock: the client's own, in memory


def subject_of(topic: str) -> str:
    """`<topic>-value` (Confluent's TopicNameStrategy)."""
    return f"{topic}-value"


def registry_client(url: str, **settings: Any) -> "SchemaRegistryClient":
    """Confluent's client; on the way to this machine no proxy of the environment counts.

    Raises:
        RegistryUnavailable: the environment's proxy cannot be used.
    """
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from httpx2 import Client as HttpClient

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


@dataclass(kw_only=True, slots=True, frozen=True)
class RegistryAccess:
    """Where the registry is and how it is entered: the keys of `[registry]` that every part
    needs."""

    url: str = ""
    """Confluent-compatible URL."""
    user: str = ""
    """User, where the registry asks for one."""
    password: str = key("", secret=True)
    """Its password."""
    ssl_ca_location: str = pem_file()
    """PEM file of the authorities that an https registry is checked against; empty: certifi's."""

    def __post_init__(self) -> None:
        self.check()

    def check(self, *more: tuple[str, str]) -> None:
        """Raise BadSettings for what cannot be; `more` are further faults by key."""
        parts, url, user = urlsplit(self.url), "", ""
        if self.url and (parts.scheme not in SCHEMES or not parts.netloc):
            url = "is no URL: give http://host:8081 or https://host:8081"
        elif parts.username or parts.password:
            url = "holds a user or a password, which logs would show: give user and password"
        if bool(self.user) != bool(self.password):
            user = "and password go together: give both, or none"
        check(self, "registry", ("url", url), ("user", user), *more)

    def client_settings(self) -> dict[str, Any]:
        """The settings of Confluent's client, beside the URL."""
        settings: dict[str, Any] = {}
        if self.user:
            settings["basic.auth.user.info"] = f"{self.user}:{self.password}"
        if self.ssl_ca_location:
            settings["ssl.ca.location"] = self.ssl_ca_location
        return settings


class Registry:
    """Ids and schemas of our topics, asked of a registry and kept. `access` may be its URL."""

    def __init__(self, access: RegistryAccess | str, **settings: Any) -> None:
        if isinstance(access, str):
            access = RegistryAccess(url=access)
        self.url = access.url
        self._client = registry_client(access.url, **access.client_settings(), **settings)
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
            from confluent_kafka.schema_registry import Schema as RegistrySchema
            from confluent_kafka.schema_registry.error import SchemaRegistryError

            schema = RegistrySchema(schema_text(topic), schema_type="AVRO")
            try:
                self._ids[topic] = self._client.register_schema(subject_of(topic), schema)
            except SchemaRegistryError as error:
                if error.http_status_code >= SERVER_ERROR:
                    raise RegistryUnavailable(
                        f"the registry at {self.url} failed on the schema of {topic}: {error}"
                    ) from error
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
        from confluent_kafka.schema_registry.error import SchemaRegistryError

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
