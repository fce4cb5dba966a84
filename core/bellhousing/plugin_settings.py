"""Settings of a plugin: environment variables with a prefix of its own, such as `BELLHOUSING_ACCESSLOG_FILE`."""

import os
from typing import Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from bellhousing.config import explain
from bellhousing.errors import ConfigurationError, near_names


class PluginSettings(BaseSettings):
    """Derive from it with `model_config = SettingsConfigDict(env_prefix=...)` and call `from_environment`."""

    @classmethod
    def from_environment(cls) -> Self:
        """Return the settings. Raises `ConfigurationError` for a wrong value and for an unknown variable."""
        prefix = cls.model_config.get("env_prefix", "")
        known = [f"{prefix}{name}".upper() for name in cls.model_fields]
        unknown = sorted(name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known)
        if unknown:
            raise ConfigurationError(
                f"unknown variable {unknown[0]}; known ones: {', '.join(near_names(unknown[0], known))}",
                reason="INVALID_CONFIG",
            )
        try:
            return cls()
        except ValidationError as error:
            raise ConfigurationError(f"variables {prefix}*: {explain(error, cls)}", reason="INVALID_CONFIG") from error
