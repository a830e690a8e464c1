"""What runs around the tables is looked at now and then."""

from headrace.infra.console.around import Around, Remembered


def test_a_look_is_remembered_for_some_seconds() -> None:
    now, looks = [100.0], []

    def look() -> Around:
        looks.append(now[0])
        return Around(parts=[{"part": f"p{len(looks)}"}])

    remembered = Remembered(look, 5.0, lambda: now[0])
    first = remembered()
    now[0] = 104.9
    assert remembered() is first
    now[0] = 105.0
    assert remembered().parts == [{"part": "p2"}]
    assert looks == [100.0, 105.0]
