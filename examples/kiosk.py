"""A kiosk with no network: two visitors, one offer, and a reset between them.

    python examples/kiosk.py [FOLDER]

FOLDER is where the store lives; without one it is a temporary folder. Needs the extra [build], because the catalog is
YAML here; a real kiosk loads a built one (`reflexarc catalog build`).
"""

import queue
import sys
import tempfile
from collections.abc import Callable

from reflexarc import Client, Config, Decision
from reflexarc_build.reader import build_text

CATALOG = """
include: standard
version: "1"
features:
  products_seen:
    description: Products looked at in the last half hour.
    aggregation: count
    window: 30m
    bucket: 1m
    of: [product_interaction]
    where: {kind: [view]}
triggers:
  cannot_choose:
    description: Three products in a row without one in the cart.
    condition: event.kind == "view" && features.products_seen > 2.0
    on: [product_interaction]
    cooldown: 10m
    goal: {events: [purchase], within: 30m}
    action: help_choosing
actions:
  help_choosing:
    payload:
      title:
        en: May we help you choose?
        de: Dürfen wir beim Aussuchen helfen?
      products: ${features.products_seen}
"""


def main(folder: str) -> None:
    # The application's own event loop, here a queue: `post` brings every handler onto it, as Tk's `after` would.
    loop: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    shown: list[Decision] = []

    def tell(error: Exception) -> None:
        print(f"  note: {error}")  # what a damaged store had to give up is told here too

    catalog = build_text(CATALOG)
    with Client(folder, catalog=catalog, config=Config(locale="de-AT"), post=loop.put, on_error=tell) as client:

        @client.on("cannot_choose")
        def show(decision: Decision) -> None:
            assert decision.payload is not None
            print(f"  on screen: {decision.payload['title']} ({decision.payload['products']:.0f} products seen)")
            client.outcome(decision.decision_id, "impression")
            shown.append(decision)

        for visitor, products in (("first", ["tea", "cups", "kettle"]), ("second", ["tea", "cups"])):
            client.reset()  # whoever was here before is gone: nothing of theirs is carried over
            print(f"{visitor} visitor, {client.subject.split(':')[0]} subject")
            for product in products:
                receipt = client.track("product_interaction", {"kind": "view", "product_id": product})
                if not receipt.accepted:
                    print(f"  not taken: {receipt.reason}")
            while not loop.empty():
                loop.get()()

        for decision in shown:
            print(f"\nwhy: {client.explain(decision_id=decision.decision_id)}")
        stats = client.stats()
        decided = ", ".join(f"{reason} {count}" for reason, count in stats["decisions"].items())
        print(f"kept: {stats['counts']['accepted']} events, decided: {decided}, handed over: {stats['handed']}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory(prefix="kiosk-") as made:
            main(made)
