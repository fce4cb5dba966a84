"""Where traces and metrics go."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from bellhousing.plugin_settings import PluginSettings


class OtelSettings(PluginSettings):
    """Environment variables `BELLHOUSING_OTEL_*`. Without an endpoint nothing is sent."""

    model_config = SettingsConfigDict(env_prefix="BELLHOUSING_OTEL_")

    endpoint: str = Field("", pattern=r"^(https?://.+)?$")
