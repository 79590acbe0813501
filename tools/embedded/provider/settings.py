"""Settings of the sandbox provider."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Built by the embedded platform, or read from the environment as `SANDBOX_<NAME>`.

    The prefix is its own: `MC_` belongs to the services, which refuse variables they do not know.
    """

    model_config = SettingsConfigDict(env_prefix="SANDBOX_", frozen=True)

    api_key: SecretStr = Field(description="Expected as X-Authentication-Key")
    shared_secret: SecretStr = Field(description="Signs the callbacks")
    url: str = Field(default="http://localhost:8006", description="Its address as browsers see it")
    host: str = Field(default="127.0.0.1", description="Address of the network interface it listens at")
    port: int = Field(default=8006, description="Port it listens at")
    recipient: str = Field(default="FWU", description="Payment references begin with it")
    file: Path | None = Field(default=None, description="SQLite file that outlives a restart; in memory without")
    session_minutes: int = Field(default=60, description="How long a pay page can be paid")
    guaranteed_after_seconds: float = Field(default=0.5, description="After it is paid")
    delivered_after_seconds: float = Field(default=1.0, description="After it is guaranteed")
    refund_step_seconds: float = Field(default=0.5, description="From initiated to received, and on to finished")
    retry_seconds: tuple[float, ...] = Field(
        default=(3.0, 30.0, 180.0), description="Before each further try of a callback (Flywire: 3 min, 30 min, 3 h)"
    )
    callback_timeout_seconds: float = Field(default=5.0, description="How long an answer to a callback is waited for")
