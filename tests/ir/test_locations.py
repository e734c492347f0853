"""Locations as values, and put together."""

from ingot.ir import Location, Source, fused_location, new_context, source_of, sources_of


def test_places_are_read_and_put_together() -> None:
    context = new_context()
    line = Location.file("model.py", 3, 0, context)
    named = Location.name("layers.0.up", line, context)
    bare = Location.name("layers.0", None, context)
    unknown = Location.unknown(context)
    assert sources_of(named) == (Source("layers.0.up", "model.py", 3),)
    assert sources_of(bare) == (Source("layers.0"),)
    assert sources_of(unknown) == () and source_of(unknown) == Source("")
    fused = fused_location([named, unknown, bare, named])
    assert sources_of(fused) == (Source("layers.0.up", "model.py", 3), Source("layers.0"))
    assert fused_location([fused, line]) == Location.fused([named, bare, line], context=context)
    assert fused_location([unknown, named]) == named
    assert fused_location([unknown]) == unknown


def test_a_place_for_a_reader() -> None:
    assert str(Source("a.b", "f.py", 7)) == "a.b (f.py:7)"
    assert str(Source("", "f.py", 7)) == "f.py:7"
    assert str(Source("a.b")) == "a.b"
    assert str(Source("")) == "unknown"
