"""Regions against figures of RP002 and of LoRaMac-node's and ChirpStack's tables."""

from protocols.errors import LocalError
from protocols.lorawan import regions
from protocols.lorawan.airtime import airtime_us


def test_every_region_is_consistent():
    for name in regions.NAMES:
        r = regions.region(name)
        assert r.name == name
        assert len(r.payload_max) == len(r.data_rates)
        for freq_hz, low, high in r.channels:
            assert r.is_frequency(freq_hz) and freq_hz % 100 == 0
            assert r.is_up_dr(low) and r.is_up_dr(high)
        assert r.is_frequency(r.rx2_freq_hz) and r.is_down_dr(r.rx2_dr)
        for dr in range(r.up_dr_min, r.up_dr_max + 1):
            assert r.data_rates[dr] is not None
            assert r.dr_of(*(r.data_rates[dr] + (True,))) == dr
            for offset in range(r.rx1_offset_max + 1):
                for dwell in (False, True):
                    down = r.rx1_dr(dr, offset, dwell)
                    assert r.data_rates[down] is not None
        for dr in range(len(r.data_rates)):
            limit = r.payload_limit(dr, True)
            if limit and r.has_dwell and r.is_up_dr(dr):
                sf, bw_hz = r.data_rates[dr]
                assert airtime_us(sf, bw_hz, limit + 13) <= 400000
        assert max(r.payload_max) + 13 <= 255


def test_as923_groups():
    r = regions.region("AS923-2")
    assert [c[0] for c in r.channels] == [921400000, 921600000]
    assert (r.rx2_freq_hz, r.rx2_dr) == (921400000, 2)
    assert [r.payload_limit(dr, True) for dr in range(6)] == [0, 0, 11, 53, 125, 242]
    assert [r.payload_limit(dr, False) for dr in range(6)] == [51, 51, 115, 115, 242, 242]
    assert r.rx1_dr(5, 0, False) == 5 and r.rx1_dr(5, 6, False) == 6 and r.rx1_dr(5, 7, True) == 7
    assert r.rx1_dr(0, 0, True) == 2 and r.rx1_dr(3, 5, False) == 0 and r.rx1_dr(3, 5, True) == 2
    assert r.eirp_dbm == 16 and r.duty[0][2] == 100 and r.duty_index(921400000) == 0
    assert not r.is_frequency(923200000)
    assert [c[0] for c in regions.region("AS923-1").channels] == [923200000, 923400000]
    assert [c[0] for c in regions.region("AS923-3").channels] == [916600000, 916800000]
    assert [c[0] for c in regions.region("AS923-4").channels] == [917300000, 917500000]


def test_eu868_sub_bands():
    r = regions.region("EU868")
    assert (r.rx2_freq_hz, r.rx2_dr) == (869525000, 0)
    inverse = [r.duty[r.duty_index(f)][2] for f in (863500000, 867100000, 868100000, 869525000)]
    assert inverse == [1000, 100, 100, 10]
    assert r.duty_index(868650000) == -1 and not r.is_frequency(868650000)
    assert r.rx1_dr(5, 5, False) == 0 and r.rx1_offset_max == 5


def test_fixed_plans():
    us, au = regions.region("US915"), regions.region("AU915")
    assert us.channels[0] == (902300000, 0, 3) and us.channels[63] == (914900000, 0, 3)
    assert us.channels[64] == (903000000, 4, 4) and us.channels[71] == (914200000, 4, 4)
    assert au.channels[63] == (927800000, 0, 5) and au.channels[71] == (927100000, 6, 6)
    assert us.rx1_freq_hz(0, 902300000) == 923300000
    assert us.rx1_freq_hz(15, 0) == 927500000 and us.rx1_freq_hz(71, 0) == 927500000
    assert us.rx1_dr(0, 0, False) == 10 and us.rx1_dr(4, 3, False) == 11
    assert au.rx1_dr(2, 0, False) == 10 and au.rx1_dr(6, 5, False) == 9
    assert us.dr_of(8, 500000, True) == 4 and us.dr_of(8, 500000, False) == 12
    assert us.dr_of(6, 125000, True) == -1


def test_in865():
    r = regions.region("IN865")
    assert [c[0] for c in r.channels] == [865062500, 865402500, 865985000]
    assert (r.rx2_freq_hz, r.rx2_dr, r.eirp_dbm) == (866550000, 2, 30)
    assert not r.duty and r.duty_index(866000000) == -1


def test_an_unknown_region_is_named():
    try:
        regions.region("AS923-5")
    except LocalError as error:
        assert error.code == "region" and "AS923-2" in error.detail
    else:
        assert False
    try:
        regions.region("EU868").rx1_dr(5, 6, False)
    except LocalError as error:
        assert error.code == "range"
    else:
        assert False


def test_channel_lists():
    freqs = (922000000, 922200000, 922400000, 0, 0)
    wire = regions.encode_cf_list_frequencies(freqs)
    assert len(wire) == 16 and wire[:3] == bytes((0xA0, 0xAF, 0x8C)) and wire[15] == 0
    assert regions.cf_list_frequencies(wire) == freqs
    assert regions.cf_list_masks(wire) is None
    mask = bytes((0, 0xFF, 0, 0, 0, 0, 0, 0, 2, 0))
    wire = regions.encode_cf_list_masks(mask)
    assert regions.cf_list_masks(wire) == mask and regions.cf_list_frequencies(wire) is None
    for bad in ((921400050,), (1,) * 6):
        try:
            regions.encode_cf_list_frequencies(bad)
        except LocalError as error:
            assert error.code == "range"
        else:
            assert False
