"""NMEA 0183: real sentences, broken ones, epochs, dates; and the judge of fixes.

Sentences marked gpsd are from its regression logs (gpsd 3.22, BSD-2-Clause).
"""

from protocols.gnss.nmea import NmeaParser, days_of
from protocols.gnss.sanity import BACKWARDS, GOOD, JUMP, NULL, OUTSIDE, STUCK, FixCheck

# gpsd: bu353s4.log, GlobalSat BU-353-S4.
BU353 = (
    b"$GPGGA,030719.000,3747.0873,S,17518.8938,E,1,08,1.1,59.9,M,23.7,M,,0000*7D\r\n"
    b"$GPGSA,A,3,17,28,06,01,30,20,26,13,,,,,1.8,1.1,1.5*33\r\n"
    b"$GPRMC,030719.000,A,3747.0873,S,17518.8938,E,0.69,181.39,311214,,,A*7D\r\n"
    b"$GPGGA,030720.000,3747.0875,S,17518.8938,E,1,08,1.1,59.8,M,23.7,M,,0000*70\r\n"
)


def sentence(body):
    total = 0
    for char in body:
        total ^= ord(char)
    return ("$%s*%02X\r\n" % (body, total)).encode()


def fixes_of(data, parser=None, chunk=10000, is_idle=True):
    parser = parser or NmeaParser()
    fixes = []
    for begin in range(0, len(data), chunk):
        part = data[begin : begin + chunk]
        pos = 0
        while pos < len(part):
            pos = parser.feed(part, pos, len(part))
            if parser.has_fix:
                fixes.append(values(parser.fix))
    if is_idle and parser.line_idle():
        fixes.append(values(parser.fix))
    return fixes


def values(fix):
    return (
        fix.time_s,
        fix.time_ms,
        fix.is_valid,
        fix.lat_e5,
        fix.lon_e5,
        fix.sog_dkn,
        fix.cog_deg,
        fix.satellites,
        fix.hdop_c,
        fix.altitude_dm,
        fix.mode,
        fix.quality,
    )


def test_epochs_of_a_real_receiver():
    time_s = days_of(2014, 12, 31) * 86400 + 3 * 3600 + 7 * 60 + 19
    time_s += 1024 * 7 * 86400  # before 2020, so moved by one turn of the week counter
    first = (time_s, 0, True, -3778479, 17531490, 7, 181, 8, 110, 599, 3, 1)
    second = (time_s + 1, 0, True, -3778479, 17531490, None, None, 8, 110, 598, None, 1)
    for chunk in (1, 7, 1000):
        parser = NmeaParser()
        assert fixes_of(BU353, parser, chunk) == [first, second]
        assert (parser.sentences, parser.bad_checksums, parser.bad_sentences) == (4, 0, 0)
        assert parser.dropped_bytes == 0 and parser.rollovers == 1


def test_build_date_decides_about_rollover():
    line = sentence("GPRMC,000001,A,0842.00,S,11513.00,E,0.0,,070407,,")
    right = days_of(2026, 11, 21) * 86400 + 1
    assert fixes_of(line, NmeaParser(days_of(2026, 6, 1) * 86400))[0][0] == right
    assert fixes_of(line, NmeaParser(days_of(2026, 11, 21) * 86400))[0][0] == right
    later = fixes_of(line, NmeaParser(days_of(2026, 11, 22) * 86400))[0][0]
    assert later == right + 1024 * 7 * 86400


def test_talkers_mix():
    data = sentence("GNRMC,010203.50,A,0842.12345,S,11513.54321,E,5.25,90.6,241126,,,A")
    data += sentence("GLGSA,A,1,,,,,,,,,,,,,,,")
    data += sentence("BDGSA,A,3,,,,,,,,,,,,,2.0,1.25,1.5")
    data += sentence("GAGGA,010203.50,0842.12345,S,11513.54321,E,2,12,0.8,-3.25,M,0,M,,")
    fix = fixes_of(data)[0]
    # 42.12345 minutes are 0.7020575 degrees.
    assert fix[1:5] == (500, True, -870206, 11522572)
    assert fix[5:] == (53, 91, 12, 80, -33, 3, 2)


def test_void_fixes_are_not_valid():
    rmc = "GPRMC,010203,V,0842.00,S,11513.00,E,,,241126,,,N"
    gga = "GPGGA,010203,0842.00,S,11513.00,E,1,05,1.0,1,M,1,M,,"
    assert not fixes_of(sentence(rmc) + sentence(gga))[0][2]
    gga = "GPGGA,010203,,,,,0,00,,,M,,M,,"
    fix = fixes_of(sentence(gga))[0]
    assert not fix[2] and fix[3] is None and fix[0] is None
    gns = "GNGNS,010203,0842.00,S,11513.00,E,NNN,00,,,,,"
    assert not fixes_of(sentence(gns))[0][2]
    gns = "GNGNS,010203,0842.00,S,11513.00,E,NAN,07,1.0,5,,,"
    assert fixes_of(sentence(gns))[0][2]
    assert not fixes_of(sentence("GPGLL,0842.00,S,11513.00,E,010203,V"))[0][2]
    assert fixes_of(sentence("GPGLL,0842.00,S,11513.00,E,010203,A"))[0][2]


def test_receiver_without_time_gives_no_epoch():
    assert fixes_of(sentence("GPRMC,,V,,,,,,,,,,N") + sentence("GPGGA,,,,,,0,,,,,,,,")) == []


def test_midnight_with_the_date_in_rmc_alone():
    data = sentence("GPRMC,235959,A,0842.00,S,11513.00,E,,,311226,,,A")
    data += sentence("GPGGA,000000,0842.00,S,11513.00,E,1,05,1.0,1,M,1,M,,")
    times = [fix[0] for fix in fixes_of(data)]
    assert times[1] == times[0] + 1 == days_of(2027, 1, 1) * 86400


def test_zda_has_the_date():
    data = sentence("GPZDA,010203,24,11,2026,00,00")
    data += sentence("GPGGA,010203,0842.00,S,11513.00,E,1,05,1.0,1,M,1,M,,")
    assert fixes_of(data)[0][0] == days_of(2026, 11, 24) * 86400 + 3723


def test_vtg_gives_speed_and_old_form_is_left():
    gga = sentence("GPGGA,010203,0842.00,S,11513.00,E,1,05,1.0,1,M,1,M,,")
    assert fixes_of(gga + sentence("GPVTG,359.6,T,,M,10.06,N,18.6,K"))[0][5:7] == (101, 0)
    assert fixes_of(gga + sentence("GPVTG,054.7,034.4,005.5,010.2"))[0][5:7] == (None, None)


def test_broken_lines_are_counted_and_skipped():
    parser = NmeaParser()
    data = b"\xb5\x62noise" + BU353[:20] + BU353 + b"$GPGGA,030721*00\r\n"
    data += b"$" + b"x" * 500 + b"\r\n" + b"$GPGGA,no checksum\r\n" + b"$GPR\xffMC*00\r\n"
    data += sentence("GPRMC,030721,A,9100.00,S,17518.8938,E,0,0,311214,,,A")
    data += sentence("GPRMC,036021,A,3747.0873,S,17518.8938,E,0,0,311214,,,A")
    data += sentence("GPRMC,030721,A,3747.0873,S,17518.8938,E,0,0,311314,,,A")
    data += sentence("GPRMC,030721,A,3747.08x3,S,17518.8938,E,0,0,311214,,,A")
    data += sentence("GPRMC,030721,A,3747.0873,E,17518.8938,S,0,0,311214,,,A")
    data += sentence("GPRMC,030721")
    assert len(fixes_of(data, parser)) == 2
    assert parser.bad_checksums == 1
    assert parser.bad_sentences == 4 + 6
    assert parser.sentences == 4 + 6
    assert parser.dropped_bytes > 300


def test_fields_at_the_edge_of_what_can_be():
    good = "GPRMC,%s,A,%s,S,%s,E,0,0,%s,,,A"
    for clock, lat, lon, date in (
        ("235960", "9000.00", "18000.00", "311299"),
        ("000000", "0000.00", "00000.00", "010100"),
    ):
        parser = NmeaParser()
        assert len(fixes_of(sentence(good % (clock, lat, lon, date)), parser)) == 1
        assert parser.bad_sentences == 0
    for clock, lat, lon, date in (
        ("240000", "0800.00", "11500.00", "010126"),
        ("236000", "0800.00", "11500.00", "010126"),
        ("235961", "0800.00", "11500.00", "010126"),
        ("23595", "0800.00", "11500.00", "010126"),
        ("235959", "9000.01", "11500.00", "010126"),
        ("235959", "0860.00", "11500.00", "010126"),
        ("235959", "08.00", "11500.00", "010126"),
        ("235959", "0800.00", "18000.01", "010126"),
        ("235959", "0800.00", "11500.00", "320126"),
        ("235959", "0800.00", "11500.00", "000126"),
        ("235959", "0800.00", "11500.00", "010026"),
        ("235959", "0800.00", "11500.00", "011326"),
        ("235959", "0800.00", "11500.00", "10126"),
    ):
        parser = NmeaParser()
        assert fixes_of(sentence(good % (clock, lat, lon, date)), parser) == []
        assert parser.bad_sentences == 1, (clock, lat, lon, date)


def test_century():
    line = "GPRMC,000000,A,0800.00,S,11500.00,E,0,0,%s,,,A"
    # 1980 moved by two turns of the week counter, 2079 as it is.
    days = fixes_of(sentence(line % "060180"))[0][0] // 86400
    assert days == days_of(1980, 1, 6) + 3 * 7168
    assert fixes_of(sentence(line % "060179"))[0][0] // 86400 == days_of(2079, 1, 6)


def test_random_bytes_do_no_harm():
    parser = NmeaParser()
    seed = 99
    data = bytearray(6000)
    for i in range(len(data)):
        seed = seed * 1103 % 65521
        data[i] = b"$GPRMC,*0123456789AVNSEW\r\n."[seed % 27] if seed & 64 else seed & 255
    fixes_of(bytes(data), parser, 100)
    assert len(fixes_of(BU353, parser)) >= 2


def test_days():
    assert days_of(2020, 1, 1) == 0 and days_of(2020, 3, 1) == 60 and days_of(2021, 1, 1) == 366
    assert days_of(2019, 12, 31) == -1 and days_of(2100, 3, 1) == 29279


def judge_all(fixes, **settings):
    check = FixCheck(**settings)
    return [check.judge(*fix) for fix in fixes]


def test_null_island_and_outside():
    assert judge_all(
        [(0, 0, 0, 0), (1, 5, -5, 0), (2, 9000001, 0, 0), (3, -870000, 11520000, 0)]
    ) == [
        NULL,
        NULL,
        OUTSIDE,
        GOOD,
    ]


def test_jump_and_persisting_jump():
    here, there = (-870000, 11520000, 50), (-880000, 11520000, 50)
    fixes = [(0,) + here, (10,) + there, (20,) + here, (30,) + there, (40,) + there, (50,) + there]
    assert judge_all(fixes) == [GOOD, JUMP, GOOD, JUMP, JUMP, GOOD]
    # 11 km in 600 s are 36 kn: possible.
    assert judge_all([(0,) + here, (600,) + there]) == [GOOD, GOOD]


def test_the_day_does_not_matter():
    day = 200000000
    here, there = (-870000, 11520000, 50), (-880000, 11520000, 50)
    fixes = [(day,) + here, (day + 10,) + there, (day + 20,) + here]
    assert judge_all(fixes) == [GOOD, JUMP, GOOD]
    assert judge_all(fixes, max_speed_dkn=30000) == [GOOD, GOOD, GOOD]
    # Two jumps to different places are no truth yet, nor is a third one elsewhere.
    far = (-890000, 11520000, 50)
    fixes = [(day,) + here, (day + 10,) + there, (day + 20,) + far, (day + 30,) + there]
    assert judge_all(fixes) == [GOOD, JUMP, JUMP, JUMP]


def test_stuck_only_when_it_should_move():
    fixes = [(10 * i, -870000, 11520000, 40) for i in range(40)]
    verdicts = judge_all(fixes, stuck_s=300)
    assert verdicts.index(STUCK) in (30, 31) and verdicts[-1] == STUCK
    fixes = [(10 * i, -870000, 11520000, 3) for i in range(400)]
    assert set(judge_all(fixes, stuck_s=300)) == {GOOD}
    fixes = [(10 * i, -870000 + i, 11520000, 40) for i in range(400)]
    assert set(judge_all(fixes, stuck_s=300)) == {GOOD}


def test_clock_that_goes_backwards():
    fixes = [(1000, -870000, 11520000, 0), (500, -870000, 11520000, 0)]
    assert judge_all(fixes) == [GOOD, BACKWARDS]
    fixes = [(1000 if i == 0 else i, -870000, 11520000, 0) for i in range(6)]
    assert judge_all(fixes) == [GOOD, BACKWARDS, BACKWARDS, GOOD, GOOD, GOOD]
