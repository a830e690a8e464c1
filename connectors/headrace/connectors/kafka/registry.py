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
from headrace.connectors.tls import tls_fault
from headrace.schemas.codec import SCHEMA_FILES, schema_text
from headrace.schemas.errors import RegistryUnavailable, SchemaError, UnknownSchemaId

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

COMPATIBILITY = "FULL_TRANSITIVE"
UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 401, 403, 404
REFUSED_SCHEMA = frozenset({400, 409, 422})  # what it is sent, or against what it has
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
        self._access = access
        self._client = registry_client(access.url, **access.client_settings(), **settings)
        self._ids: dict[str, int] = {}

    def register_all(self) -> dict[str, int]:
        """Register the schema of every topic; returns the ids. Idempotent.

        Raises SchemaError where a schema is not compatible with what is registered, and
        RegistryUnavailable where the registry does not answer.
        """
        return {topic: self.schema_id(topic) for topic in SCHEMA_FILES}

    def subjects(self) -> list[str]:
        """The subjects that this user sees; raises RegistryUnavailable."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        try:
            return list(self._client.get_subjects())
        except SchemaRegistryError as error:
            raise self._failed("its subjects", error) from error
        except Exception as error:  # the client lets its HTTP library's errors through
            raise self._no_answer(error) from error

    def schema_id(self, topic: str) -> int:
        """Id of the topic's schema, registered if it is not yet."""
        if topic not in self._ids:
            from confluent_kafka.schema_registry import Schema as RegistrySchema
            from confluent_kafka.schema_registry.error import SchemaRegistryError

            schema = RegistrySchema(schema_text(topic), schema_type="AVRO")
            try:
                self._ids[topic] = self._client.register_schema(subject_of(topic), schema)
            except SchemaRegistryError as error:
                if error.http_status_code in REFUSED_SCHEMA:
                    raise SchemaError(
                        f"the registry at {self.url} refused the schema of {topic} "
                        f"(it must be {COMPATIBILITY} with the registered ones): {error}"
                    ) from error
                raise self._failed(f"the schema of {topic}", error) from error
            except Exception as error:  # the client lets its HTTP library's errors through
                raise self._no_answer(error) from error
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
            raise self._failed(f"schema {schema_id}", error) from error
        except Exception as error:  # the client lets its HTTP library's errors through
            raise self._no_answer(error) from error
        parsed: dict[str, Any] = json.loads(schema.schema_str or "{}")
        return parsed

    def _failed(self, what: str, error: "SchemaRegistryError") -> RegistryUnavailable:
        if error.http_status_code == UNAUTHORIZED:
            who = f"user {self._access.user}" if self._access.user else "whoever names no user"
            return RegistryUnavailable(
                f"the registry at {self.url} does not let {who} in: check [registry] user and "
                "password"
            )
        if error.http_status_code == FORBIDDEN:
            return RegistryUnavailable(
                f"the registry at {self.url} keeps {what} from user {self._access.user}: {error}; "
                "give it the right to read and to write the subjects headrace.*"
            )
        return RegistryUnavailable(f"the registry at {self.url} failed on {what}: {error}")

    def _no_answer(self, error: Exception) -> RegistryUnavailable:
        said: object = error
        if fault := tls_fault(error):
            said = f"{fault}; check [registry] url and ssl_ca_location"
        return RegistryUnavailable(f"no answer from the schema registry at {self.url}: {said}")

    def close(self) -> None:
        """Close the connections to the registry."""
        self._client.close()
