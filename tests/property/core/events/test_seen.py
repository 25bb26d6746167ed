from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.events.seen import Seen

STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, 5.0, 10.0]),
        st.sampled_from([None, "acme", "globex"]),
        st.sampled_from("abcdef"),
    )
)


@given(STEPS)
def test_an_id_is_new_once_in_its_time_and_again_after_it(
    steps: list[tuple[float, str | None, str]],
) -> None:
    seen, now = Seen(ttl=10), 0.0
    since: dict[tuple[str | None, str], float] = {}
    for pause, tenant, event in steps:
        now += pause
        came = since.get((tenant, event))
        new = came is None or now >= came + 10
        assert seen.first(tenant, event, now) == new
        if new:
            since[tenant, event] = now
    assert seen.forgotten == 0


@given(STEPS, st.integers(1, 4))
def test_no_tenant_is_remembered_beyond_its_bound_and_early_forgetting_is_counted(
    steps: list[tuple[float, str | None, str]], capacity: int
) -> None:
    """What came again although it was new before its time was forgotten; there are no more of these."""
    seen, now, early = Seen(ttl=10, capacity=capacity), 0.0, 0
    since: dict[tuple[str | None, str], float] = {}
    for pause, tenant, event in steps:
        now += pause
        came = since.get((tenant, event))
        if seen.first(tenant, event, now):
            early += came is not None and now < came + 10
            since[tenant, event] = now
        assert all(len(ids) <= capacity for ids in seen._tenants.values())
        assert len(seen) >= 1
    assert early <= seen.forgotten
