from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk.recent import Recent


@given(st.lists(st.sampled_from("abcdef")), st.integers(1, 4))
def test_an_id_is_new_unless_it_is_among_the_last_new_ones_and_memory_is_bounded(
    ids: list[str], room: int
) -> None:
    recent = Recent(room)
    news: list[str] = []
    for ident in ids:
        assert recent.add(ident) == (ident not in news[-room:])
        if ident not in news[-room:]:
            news.append(ident)
        assert len(recent) <= room
