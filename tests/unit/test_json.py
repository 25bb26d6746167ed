import tracemalloc

from marketstream.wire.json import dumps


def test_a_json_text_takes_no_more_memory_than_it_is_long() -> None:
    """What is written is kept for long: last values, delayed prices, cached answers."""
    value = {"symbol": "A", "price": 1.5, "source": "x" * 100}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [dumps(value) for _ in range(1_000)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000 * (len(kept[0]) + 100)
