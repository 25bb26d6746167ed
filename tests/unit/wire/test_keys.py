import pytest

from marketstream.wire import keys, messages


def test_a_symbol_is_in_the_same_shard_for_ever() -> None:
    """All processes must agree, also those of the next version."""
    assert [keys.shard_of(name) for name in ("EUR/USD", "AAPL", "", "indices")] == [2, 12, 0, 11]


def test_symbols_spread_over_all_shards() -> None:
    assert {keys.shard_of(f"SYM{number}") for number in range(200)} == set(range(keys.SHARDS))


@pytest.mark.parametrize(
    ("key", "name"),
    [("EUR/USD", "EUR/USD"), (messages.status_key("EUR/USD"), "EUR/USD"), ("channel indices", "indices")],
)
def test_a_key_is_about_its_symbol_or_channel(key: str, name: str) -> None:
    assert keys.subject(key) == name


def test_what_belongs_to_one_shard_is_kept_together_by_a_cluster() -> None:
    assert all("{7}" in name(7) for name in (keys.frames_channel, keys.last_values, keys.shard_cursor))
    assert "{7}" in keys.probe_channel("me", 7)


def test_the_kind_of_a_channel_is_read_from_its_name() -> None:
    assert keys.channel_shard(keys.frames_channel(12)) == 12
    assert keys.channel_shard(keys.probe_channel("me", 3)) == 3
    assert [keys.channel_shard(name) for name in (keys.RELAY, keys.probe_channel("me"), "x{3}:")] == [
        None
    ] * 3


def test_no_two_users_share_their_key_and_none_can_be_read_or_is_long() -> None:
    users = [("a", "b c"), ("a b", "c"), ("", "a b c"), ("a", "b"), ("\ud800", "x" * 10_000)]
    names = {keys.user_connections(*user) for user in users}
    assert len(names) == len(users)
    assert max(map(len, names)) < 60


def test_no_two_tenants_share_a_field_and_none_is_everybodys() -> None:
    fields = {keys.field(tenant, "A") for tenant in (None, "", "a", "A", "A\x1fb")}
    assert len(fields) == 5
