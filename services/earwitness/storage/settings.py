"""`StoreSettings`: a service's settings for its database."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earwitness.folders import data_folder
from earwitness.storage.database import require_url


class StoreSettings(BaseSettings):
    """A base class of a service's settings, beside `ServerSettings`."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    store_file: ClassVar[str]
    """Name of the default database in `data_dir`."""

    data_dir: Path = Field(default_factory=data_folder)
    """Folder of the default database; created if missing. Default: earwitness in the user's data folder."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL of the database, SQLite or PostgreSQL. Default: the service's own SQLite file in `data_dir`."""

    @field_validator("database_url")
    @classmethod
    def _database_is_supported(cls, url: str) -> str:
        return require_url(url) if url else url

    @property
    def store_url(self) -> str:
        """`database_url`, or its default."""
        return self.database_url or f"sqlite:///{self.data_dir / self.store_file}"
