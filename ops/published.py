"""Google's published prices as far as they could be read: ops/prices.yaml, each with its page and the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ops.usage import Prices

FILE = Path(__file__).with_name("prices.yaml")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class PublishedPrice:
    """The price of an hour, where it stands, and the day it was read there; None where nobody here could read it."""

    price: float | None
    url: str
    read_on: date


@dataclass(frozen=True)
class Published:
    """All prices of one region, by resource."""

    currency: str
    region: str
    per_hour: Mapping[str, PublishedPrice]
    spot_per_hour: Mapping[str, PublishedPrice]

    def prices(self, region: str) -> Prices:
        """What is known of a region; nothing of any other."""
        if region != self.region:
            return Prices(self.currency)
        return Prices(self.currency, _known(self.per_hour), _known(self.spot_per_hour))

    @property
    def assumption(self) -> str:
        """What an estimate with these prices assumes."""
        oldest = min(item.read_on for item in self.per_hour.values() if item.price is not None)
        return (
            f"Prices are Google's published ones of {self.region}, as of {oldest} or later (ops/prices.yaml), "
            "without disks; --prices FILE for your own."
        )


def _known(prices: Mapping[str, PublishedPrice]) -> dict[str, float]:
    return {name: item.price for name, item in prices.items() if item.price is not None}


@lru_cache(maxsize=1)
def published(file: Path = FILE) -> Published:
    """The file's content."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Published(
        content["currency"], content["region"], _read(content["per_hour"]), _read(content["spot_per_hour"])
    )


def _read(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, PublishedPrice]:
    return {
        name: PublishedPrice(None if item["price"] == UNKNOWN else float(item["price"]), item["url"], item["date"])
        for name, item in entries.items()
    }
