"""A catalog becomes live on a running server with the models that are, and earlier bundles come back whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reflexarc.operator import Operator
from reflexarc_build.reader import build_text
from reflexarc_core.catalog import Catalog
from reflexarc_core.errors import DefinitionError, InvalidEventError
from reflexarc_core.model import ModelDefinition
from reflexarc_models.train.train import TrainedModel
from reflexarc_proto.v1 import admin_service_pb2
from reflexarc_proto.wire import error_of_call
from reflexarc_server.app import Server, start_server
from reflexarc_server.distribution import Bundle, write_bundle
from tests.core.test_hostile_catalog import HOSTILE, UNSOUND, unsound
from tests.identity.kit import Secured
from tests.server.kit import T0, YAML, ManualClock, Stubs, catalog, page, wait_for


def changed(*pairs: tuple[str, str]) -> Catalog:
    """The tests' catalog with other text."""
    text = YAML
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return build_text(text)


@pytest.fixture
def operator(server: Server) -> Iterator[Operator]:
    with Operator(server.address, insecure=True) as one:
        yield one


@pytest.fixture
def trained(server: Server, operator: Operator, data: Path, tmp_path: Path, churn: TrainedModel) -> str:
    """A bundle with the churn model, live; its digest."""
    folders = {"device": tmp_path / "device", "server": tmp_path / "heavy"}
    churn.device.write(folders["device"])
    churn.server.write(folders["server"])
    digest = write_bundle(data, catalog(), {"churn": folders})
    operator.activate(digest)
    return digest


def live(server: Server) -> Bundle:
    bundle = server.parts.switch.live.bundle
    assert bundle is not None
    return bundle


def test_a_promotion_publishes_the_live_models_for_the_new_lines(
    server: Server, operator: Operator, trained: str, churn: TrainedModel
) -> None:
    fresh = changed(("> 0.7", "> 0.6"), ("server-test", "two"))
    assert list(live(server).artifacts["device"]["churn"].lines) == [0.7]
    change, notes = operator.promote(fresh, by="ann", note="sooner", live_catalog_digest=catalog().digest)
    assert notes == []
    bundle = live(server)
    assert (change["action"], change["digest"], change["before_digest"]) == ("promoted", bundle.digest, trained)
    assert (change["by"], change["note"], change["catalog_version"]) == ("ann", "sooner", "two")
    assert bundle.catalog.digest == fresh.digest == operator.catalog().digest
    for form, whole in (("device", churn.device), ("server", churn.server)):
        artifact = bundle.artifacts[form]["churn"]
        assert list(artifact.lines) == [0.6]
        assert (artifact.segments, artifact.score_grid) == (whole.segments, whole.score_grid), "the model is the same"
    assert operator.catalog(trained).digest == catalog().digest


def test_a_rollback_brings_the_earlier_bundle_back_whole_and_goes_one_further_each_time(
    server: Server, operator: Operator, trained: str
) -> None:
    for number, line in ((2, "0.6"), (3, "0.5")):
        operator.promote(changed(("> 0.7", f"> {line}"), ("server-test", f'"{number}"')))
    for expected, line in (("2", 0.6), ("server-test", 0.7)):
        operator.roll_back(by="bob")
        assert live(server).catalog.version == expected
        assert list(live(server).artifacts["server"]["churn"].lines) == [line]
    assert live(server).digest == trained
    with pytest.raises(DefinitionError, match="no bundle before this one"):
        operator.roll_back()
    third = operator.changes()[2]
    assert operator.roll_back(third["digest"][:10])["catalog_version"] == "3"
    with pytest.raises(DefinitionError, match="live already"):
        operator.roll_back(third["digest"])
    with pytest.raises(DefinitionError, match="no bundle with digest x"):
        operator.roll_back("x")
    assert [change["action"] for change in operator.changes()] == [
        "activated", "promoted", "promoted", "rolled back", "rolled back", "rolled back",
    ]  # fmt: skip


def test_what_was_served_from_the_start_is_a_version_too_and_the_history_outlives_a_restart(
    data: Path, clock: ManualClock
) -> None:
    fresh = changed(("server-test", "two"))
    server = start_server(data, "127.0.0.1:0", catalog(), clock, insecure=True)
    with Operator(server.address, insecure=True) as operator:
        assert (operator.changes(), operator.catalog().digest) == ([], catalog().digest)
        operator.promote(fresh)
    server.stop()
    server = start_server(data, "127.0.0.1:0", Catalog(), clock, insecure=True)
    with Operator(server.address, insecure=True) as operator:
        assert operator.catalog().digest == fresh.digest
        assert operator.roll_back()["catalog_version"] == "server-test"
        assert [(one["action"], one["change_time"]) for one in operator.changes()] == [
            ("began", T0), ("promoted", T0), ("rolled back", T0),
        ]  # fmt: skip
    server.stop()


def test_the_servers_own_engine_follows(operator: Operator, stubs: Stubs) -> None:
    stubs.track(page(1), page(2))
    stubs.folded()
    operator.promote(changed(("== 3.0", "== 4.0"), ("server-test", "two")))
    stubs.track(page(3))
    stubs.folded()
    assert operator.explain("third_page", "known:1").records == ()
    stubs.track(page(4))
    stubs.folded()
    wait_for(lambda: len(operator.explain("third_page", "known:1").records) == 1)


def with_model(model: ModelDefinition) -> Catalog:
    return replace(catalog(), version="x", models={**catalog().models, model.model_id: model})


def test_what_the_live_models_were_not_trained_for_is_refused_with_its_place(
    server: Server, operator: Operator, trained: str
) -> None:
    churn, tickets = catalog().models["churn"], catalog().features["support_tickets"]
    assert churn.label is not None
    shorter = replace(tickets, window_ms=tickets.window_ms // 2)
    for place, fresh in (
        ("features.support_tickets", replace(catalog(), features={**catalog().features, "support_tickets": shorter})),
        ("models.churn.features: support_tickets", with_model(replace(churn, features=churn.features[:2]))),
        ("models.churn.label", with_model(replace(churn, label=replace(churn.label, horizon_ms=1_000)))),
        ("models.churn.algorithm", with_model(replace(churn, algorithm="gradient_boosting"))),
    ):
        with pytest.raises(DefinitionError, match=place) as refused:
            operator.promote(fresh)
        assert "reflexarc train" in refused.value.hint
    assert live(server).digest == trained


def test_what_will_not_do_what_it_seems_to_is_told_and_a_check_changes_nothing(
    server: Server, operator: Operator, trained: str
) -> None:
    later = with_model(replace(catalog().models["churn"], score_on=("purchase",)))
    told = "models.churn scores at other moments now: its confidence was measured at the earlier ones"
    assert operator.check_catalog(later)[0] == told
    without = {name: one for name, one in catalog().models.items() if name != "churn"}
    triggers = {name: one for name, one in catalog().triggers.items() if not one.lines}
    notes = operator.check_catalog(replace(catalog(), version="x", models=without, triggers=triggers))
    assert notes == ["models.churn is gone: its artifact is left out"]
    assert live(server).digest == trained


def test_a_trigger_whose_model_is_not_trained_is_told(operator: Operator) -> None:
    assert operator.check_catalog(changed(("server-test", "two"))) == [
        "models.churn has no artifact yet: re_engage cannot fire before it is trained"
    ]


def test_a_line_that_can_never_fire_is_told(operator: Operator, trained: str) -> None:
    notes = operator.check_catalog(changed(("> 0.7", "> 0.999")))
    assert any(note.startswith("models.churn (device): line 0.999 can never fire") for note in notes), notes


def test_a_hostile_catalog_is_refused_and_nothing_changes(server: Server, operator: Operator, trained: str, stubs: Stubs) -> None:
    before = sorted(path.name for path in (server.parts.distribution._home).iterdir())
    for content in (*(one for one in HOSTILE.values() if len(one) < 4_000_000), *map(unsound, UNSOUND)):
        pieces = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
        with pytest.raises(Exception) as refused:  # noqa: PT011  # grpc's own, judged by the next line
            stubs.admin.PromoteCatalog(admin_service_pb2.PromoteCatalogRequest(catalog_json=pieces), timeout=20)
        assert type(error_of_call(refused.value)) is DefinitionError  # type: ignore[arg-type]
    with pytest.raises(InvalidEventError):
        operator.promote(changed(("server-test", "two")), by="x" * 201)
    assert live(server).digest == trained
    assert sorted(path.name for path in (server.parts.distribution._home).iterdir()) == before, "no bundle is left behind"


def test_two_who_compared_with_the_same_catalog_do_not_both_win(operator: Operator, trained: str) -> None:
    seen = operator.catalog().digest
    operator.promote(changed(("server-test", "two")), live_catalog_digest=seen)
    with pytest.raises(DefinitionError, match="became live meanwhile"):
        operator.promote(changed(("server-test", "three")), live_catalog_digest=seen)
    with pytest.raises(DefinitionError, match="live already"):
        operator.promote(changed(("server-test", "two")))


def test_the_history_says_which_key_was_shown_whoever_they_said_they_were(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    (first,) = secured.operator.keys()
    secured.operator.promote(changed(("server-test", "two")), by="ann")
    text, second = secured.operator.create_key("admin")
    with Operator(secured.address, key=text, ca_file=secured.ca_file) as other:
        other.roll_back(by="ann")
    secured_by = [(one["by"], one["key_id"]) for one in secured.operator.changes()[1:]]
    assert secured_by == [("ann", first["key_id"]), ("ann", second["key_id"])]
    secured.stop()
