"""Where the metrics are served, and how many label values they may have."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from bellhousing.plugin_settings import PluginSettings


class PrometheusSettings(PluginSettings):
    """Environment variables `BELLHOUSING_PROMETHEUS_*`. Without a port there are no metrics."""

    model_config = SettingsConfigDict(env_prefix="BELLHOUSING_PROMETHEUS_")

    host: str = "127.0.0.1"
    port: int | None = Field(None, ge=0, le=65535)
    max_adapters: int = Field(20, ge=0)
    max_tenants: int = Field(20, ge=0)
    lora_info: bool = False
