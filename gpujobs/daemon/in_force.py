"""The configuration as it counts now: a reload changes it here, in one place, and all others ask for it."""

from __future__ import annotations

from typing import Any

from gpujobs.config.settings import Settings
from gpujobs.config.site import Quotas, SiteConfig
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.observers import Observers
from gpujobs.policy import Rules


class InForce:
    """`changed` tells those who hold a copy of a rule."""

    def __init__(self, settings: Settings, site: SiteConfig) -> None:
        self.settings = settings
        self.mode = Mode(settings.mode)
        self.file_values: dict[str, Any] = {}
        """Of the configuration that was read: the keys of its top, to tell what has changed."""
        self.changed = Observers[[]]()
        self._take(site)

    def _take(self, site: SiteConfig) -> None:
        self.site: SiteConfig = site
        self.rules: Rules = site.rules()
        self.access = AccessPolicy(self.mode is Mode.SITE, site.access)

    def replace(self, settings: Settings, site: SiteConfig) -> None:
        self.settings = settings
        self._take(site)
        self.changed.tell()

    @property
    def quotas(self) -> Quotas | None:
        """None where the daemon is the user's own, and so is the disk."""
        return self.site.quotas if self.mode is Mode.SITE else None
