"""Every board loads, and wrong board data is refused by name."""

from firmware import boards


def refusal(values):
    try:
        boards.Board("test", values)
    except boards.BoardError as error:
        return str(error)
    return None


def test_every_board_loads_and_no_pin_is_used_twice():
    for name in boards.NAMES:
        board = boards.load(name)
        assert board.name == name
        pins = {}
        for key, low, high, _needed in boards.KEYS:
            is_pin = (low, high) == (0, 48)
            if is_pin and board.has(key):
                assert board.get(key) not in pins, (name, key, pins[board.get(key)])
                pins[board.get(key)] = key


def test_the_simulated_board_is_the_real_module():
    simulated = boards.load("unix-pico")
    real = boards.load("pico-waveshare")
    for key, _low, _high, _needed in boards.KEYS:
        if key.startswith("radio") or key.startswith("spi"):
            assert simulated.get(key) == real.get(key), key


def test_wrong_data_is_named():
    from firmware.boards.unix_pico import VALUES

    good = dict(VALUES)
    assert refusal(good) is None
    wrong = dict(good)
    wrong["radio_cs"] = 99
    assert refusal(wrong) == "board test: radio_cs = 99 is outside 0..48"
    wrong = dict(good)
    del wrong["radio_busy"]
    assert refusal(wrong) == "board test: radio_busy is missing"
    wrong = dict(good)
    wrong["radio_bussy"] = 2
    assert refusal(wrong) == "board test: there is no key radio_bussy"


def test_unknown_board_lists_the_known_ones():
    try:
        boards.load("pico-2040")
        assert False
    except boards.BoardError as error:
        assert "heltec-v3" in str(error)
