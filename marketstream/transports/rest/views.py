"""Shape the updates of channels like the endpoints of the same name."""

from typing import Any

from marketstream.core.query.overview import Movement
from marketstream.transports.rest import schema


def show(channel: str, found: Any) -> dict[str, Any]:  # noqa: ANN401  # each channel has its own
    """Return the data.

    Args:
        channel: `indices`, `sectors`, `movers` or `sentiment`.
        found: What `Overview` answers to the question of that name; of movers all kinds by their names.
    """
    return _body(channel, found).model_dump(by_alias=True)


def _body(channel: str, found: Any) -> schema.Shape:  # noqa: ANN401  # as above
    match channel:
        case "indices":
            return schema.IndicesBody(indices=schema.named(found))
        case "sectors":
            return schema.SectorsBody(sectors=schema.named(found))
        case "movers":
            lists: dict[Movement, Any] = {
                movement: [schema.movable(quote) for quote in quotes] for movement, quotes in found.items()
            }
            return schema.MoversLists(**lists)
        case _:
            return schema.mood(found)
