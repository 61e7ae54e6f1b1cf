"""Everything that the plugins announce, by kind and name: what can be used, what cannot, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from densnet_core.errors import nearest
from densnet_core.plugins.component import API_VERSION, Component
from densnet_core.plugins.discovery import CORE_DISTRIBUTION, Plugin
from densnet_core.plugins.hookspecs import Record
from densnet_core.plugins.quantity import Objective
from densnet_core.plugins.records import KIND, QUANTITY, key

Key = tuple[str, str]


@dataclass
class Offers:
    """Every offer of one kind and name.

    Parameters
    ----------
    usable : list of (Plugin, Record)
        If there are two, neither is used.
    refused : list of (Plugin, Record, str)
        With the reason.
    """

    usable: list[tuple[Plugin, Record]] = field(default_factory=list)
    refused: list[tuple[Plugin, Record, str]] = field(default_factory=list)

    @property
    def record(self) -> Record | None:
        """The one that can be used."""
        return self.usable[0][1] if len(self.usable) == 1 else None

    @property
    def who(self) -> str:
        """The distributions that make the offer, with versions."""
        return " and ".join(str(plugin) for plugin, _ in self.usable)

    def statuses(self) -> list[tuple[Plugin, Record, str | None]]:
        """Each offer with what is wrong with it; None if nothing is."""
        conflict = f"conflict: offered by {self.who}" if len(self.usable) > 1 else None
        return [
            *((plugin, record, conflict) for plugin, record in self.usable),
            *((plugin, record, f"refused: {reason}") for plugin, record, reason in self.refused),
        ]

    def refuse(self, plugin: Plugin, record: Record, reason: str) -> None:
        """Move an offer from the usable ones to the refused ones."""
        self.usable.remove((plugin, record))
        self.refused.append((plugin, record, reason))


def collect(plugins: Iterable[Plugin]) -> dict[Key, Offers]:
    """The offers of all plugins.

    A component for another version of the plugin interface is refused, and so is a kind, quantity or objective of a
    plugin whose name is the core's; then what names a kind or a quantity that cannot be used.
    """
    offers: dict[Key, Offers] = {}
    for plugin in plugins:
        for record in plugin.records:
            offers.setdefault(key(record), Offers()).usable.append((plugin, record))
    for rule in (_made_for_another_interface, _name_of_the_core, _unknown_kind, _unknown_quantity):
        for offer in offers.values():
            for plugin, record in list(offer.usable):
                if reason := rule(plugin, record, offers):
                    offer.refuse(plugin, record, reason)
    return offers


def _made_for_another_interface(plugin: Plugin, record: Record, offers: Mapping[Key, Offers]) -> str | None:
    if not isinstance(record, Component) or record.api.partition(".")[0] == API_VERSION.partition(".")[0]:
        return None
    return (
        f"{plugin} was made for version {record.api} of the plugin interface, and this core has {API_VERSION}; install "
        f"matching versions of {plugin.distribution} and {CORE_DISTRIBUTION}"
    )


def _name_of_the_core(plugin: Plugin, record: Record, offers: Mapping[Key, Offers]) -> str | None:
    """A plugin must not disable all samplers, or the label ``energy``, by announcing one of the same name."""
    if isinstance(record, Component) or plugin.of_the_core:
        return None
    owners = [owner for owner, _ in offers[key(record)].usable if owner.of_the_core]
    return f"the name {key(record)[1]!r} is taken by {owners[0]}" if owners else None


def _unknown_kind(plugin: Plugin, record: Record, offers: Mapping[Key, Offers]) -> str | None:
    return _unusable(KIND, str(record.kind), offers) if isinstance(record, Component) else None


def _unknown_quantity(plugin: Plugin, record: Record, offers: Mapping[Key, Offers]) -> str | None:
    if not isinstance(record, Objective):
        return None
    return next(
        (reason for name in (*record.labels, *record.outputs) if (reason := _unusable(QUANTITY, name, offers))), None
    )


def _unusable(family: str, name: str, offers: Mapping[Key, Offers]) -> str | None:
    """Why a kind or quantity that a record names cannot be used; None if it can."""
    offer = offers.get((family, name), Offers())
    if offer.record is not None:
        return None
    if offer.usable:
        return f"its {family} {name!r} is offered by {offer.who}"
    known = [str(other) for (of_family, other), one in offers.items() if of_family == family and one.usable]
    return f"its {family} {name!r} is unknown. {nearest(name, known)}"
