import pytest

from marketstream.core.events.seen import TTL, Seen


def test_the_same_id_within_five_minutes_is_the_same_event() -> None:
    seen = Seen()
    assert seen.first("acme", "e1", 0)
    assert not seen.first("acme", "e1", TTL - 0.1)
    assert seen.first("acme", "e1", TTL)
    assert seen.repeated == 1


def test_a_repetition_does_not_make_an_id_last_longer() -> None:
    seen = Seen(ttl=10)
    seen.first("acme", "e1", 0)
    seen.first("acme", "e1", 9)
    assert seen.first("acme", "e1", 10)


def test_one_tenant_cannot_silence_another() -> None:
    seen = Seen()
    assert all(seen.first(tenant, "e1", 0) for tenant in ("acme", "globex", None))


def test_too_many_ids_of_one_tenant_push_out_its_own_and_nobody_elses() -> None:
    seen = Seen(capacity=2)
    seen.first("globex", "e0", 0)
    for id_ in ("e0", "e1", "e2"):
        seen.first("acme", id_, 0)
    assert seen.forgotten == 1
    assert seen.first("acme", "e0", 0)
    assert not seen.first("globex", "e0", 0)


def test_tenants_who_have_fallen_silent_take_no_room() -> None:
    seen = Seen(ttl=10)
    for number in range(100):
        seen.first(f"t{number}", "e", number / 100)
    seen.first("acme", "e", 20)
    assert len(seen) == 1


def test_a_tenant_who_goes_on_does_not_keep_those_who_have_fallen_silent() -> None:
    seen = Seen(ttl=10)
    for now, tenant in ((0, "busy"), (5, "silent"), (9, "busy")):
        assert seen.first(tenant, f"e{now}", now)
    seen.first("new", "e", 16)
    assert set(seen._tenants) == {"busy", "new"}


def test_a_memory_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="holds none"):
        Seen(capacity=0)
