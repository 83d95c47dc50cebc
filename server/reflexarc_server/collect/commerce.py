"""Names of well-known `track` calls, and what each is here.

Owns one table, and how the fields of those calls are called here. An event that is not in it becomes an event type of its own.
docs/intake.md states the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Fields = dict[str, Any]
Properties = Mapping[str, Any]


def _first(given: Properties, *names: str) -> Any:
    """The first of these fields that is there and not null."""
    return next((given[name] for name in names if given.get(name) is not None), None)


def _text(value: Any) -> Any:
    """Ids come as numbers too."""
    return str(value) if type(value) is int else value


def _product(kind: str) -> Callable[[Properties], Fields]:
    def fields(given: Properties) -> Fields:
        return {
            "kind": kind,
            "product_id": _text(_first(given, "product_id", "sku", "productId")),
            "category": given.get("category"),
            "price": _first(given, "price", "value"),
        }

    return fields


def _list(kind: str) -> Callable[[Properties], Fields]:
    return lambda given: {
        "kind": kind,
        "category": _first(given, "category", "list_id"),
        "price": _first(given, "value", "revenue"),
    }


def _order(given: Properties) -> Fields:
    products = given.get("products")
    rows = [row for row in products if isinstance(row, dict)] if isinstance(products, list) else []
    counts = [row.get("quantity", 1) for row in rows]
    known = all(type(count) is int for count in counts)
    only = rows[0] if len(rows) == 1 else {}
    return {
        "order_id": _text(_first(given, "order_id", "checkout_id", "orderId")),
        "amount": _first(given, "total", "revenue", "value"),
        "currency": given.get("currency"),
        "item_count": sum(counts) if rows and known else None,
        "product_id": _text(_first(only, "product_id", "sku", "productId")),
    }


def _share(given: Properties) -> Fields:
    return {
        "platform": _first(given, "share_via", "platform") or "unknown",
        "content_id": _text(_first(given, "product_id", "content_asset_id", "cart_id")),
        "url": given.get("url"),
    }


def _video(given: Properties) -> Fields:
    return {"kind": "video", "target": _text(_first(given, "content_asset_id", "session_id")), "label": given.get("title")}


NAMES: Final[Mapping[str, tuple[str, Callable[[Properties], Fields]]]] = {
    "products searched": ("product_interaction", _list("search")),
    "product list viewed": ("product_interaction", _list("view")),
    "product clicked": ("product_interaction", _product("view")),
    "product viewed": ("product_interaction", _product("view")),
    "product added": ("product_interaction", _product("add_to_cart")),
    "product removed": ("product_interaction", _product("remove_from_cart")),
    "cart viewed": ("product_interaction", _list("cart")),
    "checkout started": ("product_interaction", _list("checkout")),
    "product added to wishlist": ("product_interaction", _product("wishlist")),
    "order completed": ("purchase", _order),
    "product shared": ("social_share", _share),
    "cart shared": ("social_share", _share),
    "video playback started": ("button_click", _video),
}
"""Name of the call, lower case -> (event type, its properties out of the call's)."""
