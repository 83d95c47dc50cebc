"""The worked examples of examples/catalog, each once through the engine."""

from __future__ import annotations

from reflexarc_build.reader import build_file
from reflexarc_core.catalog import Catalog
from reflexarc_core.engine import Engine
from reflexarc_core.record import CatalogInput, Moment
from tests.conftest import ROOT
from tests.core.test_patterns import Scene
from tests.core.world import DAY, T0, Shell

HOUR = 60


def scene(name: str = "journeys", side: str = "edge") -> Scene:
    """The examples in place of the one trigger."""
    made = Scene("on: [page_view]\ncondition: 'true'")
    made.catalog = build_file(ROOT / "examples" / "catalog" / f"{name}.yaml")
    made.shell = Shell(Engine(Catalog(), side))
    made.shell.take(CatalogInput(Moment(T0), made.catalog.digest, "", {}), made.catalog)
    return made


def test_each_example_does_what_its_description_says() -> None:
    one = scene()
    one.event("product_interaction", 12 * HOUR, product_id="a", kind="add_to_cart")
    assert one.tick(13 * HOUR) == ["NO_LEASE[a]"], "a global cap needs a server that gives a use"
    one.event("page_view", 14 * HOUR, page_url="/pricing")
    one.event("form_submit", 15 * HOUR, form_id="f", form_type="contact")
    for minute in (1, 2):
        one.event("page_view", 15 * HOUR + minute, page_url="/")
    assert one.event("page_view", 15 * HOUR + 3, page_url="/") == ["NO_LEASE"]
    assert one.event("content_view", 16 * HOUR, content_id="x") == ["FIRED"]
    (first,) = one.shell.acts
    assert one.event("outcome", 16 * HOUR + 5, decision_id=first.decision_id, kind="click") == ["FIRED[step:1]"]
    assert one.tick(16 * HOUR + 5 + 4 * 24 * HOUR) == ["FIRED[step:2]"]
    one.event("consent", 5 * 24 * HOUR, purpose="marketing", granted=True)
    silent_from = 6 * 24 * HOUR + 20 * HOUR
    one.event("session", silent_from, kind="start")
    at_night = silent_from + 14 * 24 * HOUR
    assert one.tick(at_night) == ["QUIET_HOURS"]
    deadline = one.shell.engine.next_deadline()
    assert deadline is not None and (deadline - T0) % DAY == 9 * HOUR * 60_000, "nine o'clock"
    assert one.tick((deadline - T0) // 60_000) == ["FIRED"]
    assert [act.action for act in one.shell.acts] == ["first_article", "second_article", "third_article", "we_miss_you"]
    one.replayed()


def test_what_a_machine_opens_is_no_reader_and_the_second_click_is_followed_up() -> None:
    one = scene("mail", "server")
    mail = {"message_id": "m-1", "machine": False}
    gateway = mail | {"machine": True}
    assert "FIRED" not in one.event("email_open", 0, **gateway)
    assert "FIRED" not in one.event("email_click", 0, **gateway)
    assert one.event("email_open", 1 * HOUR, **mail) == ["FIRED"]
    assert "FIRED" not in one.event("email_open", 2 * HOUR, **mail)
    assert "FIRED" not in one.event("email_click", 3 * HOUR, **mail)
    assert "FIRED" not in one.event("email_click", 4 * HOUR, **gateway)
    assert one.event("email_click", 5 * HOUR, **mail) == ["FIRED"]
    assert [act.action for act in one.shell.acts] == ["welcome_reader", "follow_up"]
    assert one.shell.acts[1].payload["clicks"] == 2.0
