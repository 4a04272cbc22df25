"""What the technician reads, in English and Indonesian: `say(language, key, ...)`."""

LANGUAGES = ("en", "id")
_WORDS = {
    # verdicts of the self-test
    "good": ("GOOD", "BAIK"),
    "check": ("CHECK", "PERIKSA"),
    "broken": ("BROKEN", "RUSAK"),
    "all_good": (
        "everything that can be tested here works",
        "semua yang dapat diuji di sini bekerja",
    ),
    "no_settings": (
        "the device has no good settings ({settings}): provision it",
        "perangkat belum punya pengaturan yang benar ({settings}): lakukan provisioning",
    ),
    "no_radio": (
        "the radio does not answer ({radio}): check module and antenna, or replace the board",
        "radio tidak menjawab ({radio}): periksa modul dan antena, atau ganti papan",
    ),
    "flash_failed": (
        "the memory does not store ({flash}): replace the board",
        "memori tidak dapat menyimpan ({flash}): ganti papan",
    ),
    "no_sensor": (
        "the level sensor does not answer: check cable A/B, supply, address, baud and parity",
        "sensor muka air tidak menjawab: periksa kabel A/B, daya, alamat, baud, dan paritas",
    ),
    "safe_mode": (
        "the program crashed {streak} times in a row ({crash}): download the log and report it",
        "program gagal {streak} kali berturut-turut ({crash}): unduh log dan laporkan",
    ),
    "no_supply": (
        "the supply cannot be measured ({supply}): check the board",
        "daya tidak dapat diukur ({supply}): periksa papan",
    ),
    "refused": (
        "new settings were refused ({refused}): the old ones are in force",
        "pengaturan baru ditolak ({refused}): pengaturan lama tetap berlaku",
    ),
    "sensor_gaps": (
        "only {valid} of {asked} sensor readings are valid: check cable, beam and power",
        "hanya {valid} dari {asked} bacaan sensor sah: periksa kabel, arah sensor, dan daya",
    ),
    "sensor_noise": (
        "the level jumps by {spread_mm} mm: check for obstacles, and that the mount is firm",
        "muka air berubah {spread_mm} mm: periksa halangan di depan sensor dan kekuatan dudukan",
    ),
    "battery_low": (
        "the battery is low ({battery_mv} mV): charge or replace it",
        "baterai lemah ({battery_mv} mV): isi ulang atau ganti",
    ),
    "battery_sags": (
        "the voltage falls to {load_mv} mV under load: check battery and terminals",
        "tegangan turun menjadi {load_mv} mV saat berbeban: periksa baterai dan terminal",
    ),
    "flash_full": (
        "only {flash_kib} KiB of memory are free: an update will not fit",
        "memori tersisa hanya {flash_kib} KiB: pembaruan tidak akan muat",
    ),
    "float_wet": (
        "the float switch says wet (AWAS): check the switch if it hangs dry",
        "sakelar pelampung basah (AWAS): periksa sakelarnya bila tergantung kering",
    ),
    "crashed": (
        "the program crashed before ({crash}): download the log and report it",
        "program pernah gagal ({crash}): unduh log dan laporkan",
    ),
    # steps of commissioning
    "step_identity": (
        "Is this the right device? DevEUI {dev_eui}",
        "Apakah perangkatnya benar? DevEUI {dev_eui}",
    ),
    "step_clock": (
        "Does this clock agree with yours (UTC)? {clock}",
        "Apakah jam ini cocok (UTC)? {clock}",
    ),
    "step_test": ("Self-test", "Uji mandiri"),
    "step_staff": (
        "Staff gauge: read it now, in mm above station zero (device: {level_mm}; empty: enough)",
        "Papan duga: baca sekarang, dalam mm di atas nol stasiun (alat: {level_mm}; kosong: cukup)",
    ),
    "step_thresholds": (
        "Second person: are waspada/siaga/awas = {stages} mm right? Your name (empty: no)",
        "Orang kedua: apakah waspada/siaga/awas = {stages} mm benar? Nama Anda (kosong: tidak)",
    ),
    "step_siren_silent": (
        "Siren: silent test passed (relay clicked, no sound)?",
        "Sirene: uji senyap berhasil (relai berbunyi, tanpa suara)?",
    ),
    "step_siren_audible": (
        "Siren: audible test, dBC at 30 m (0: not done)",
        "Sirene: uji suara, dBC pada 30 m (0: tidak dilakukan)",
    ),
    "step_tilt": (
        "Tilt of the sensor from the vertical, degrees (spirit level; device: {tilt_deg})",
        "Kemiringan sensor terhadap garis tegak, derajat (waterpas; alat: {tilt_deg})",
    ),
    "step_beam": (
        "Beam: nothing but water below, within a fifth of the height to all sides?",
        "Berkas: hanya air di bawahnya, seperlima tinggi ke semua sisi?",
    ),
    "step_link": (
        "Link check: median margin in dB, gateways, frames asked, frames answered (as 12 2 20 20)",
        "Link check: median margin dB, gateway, bingkai dikirim, bingkai dijawab (mis. 12 2 20 20)",
    ),
    "step_photo": (
        "Photo files of the place, with spaces between them",
        "Berkas foto lokasi, dipisah spasi",
    ),
    "step_place": (
        "Position and next visit (as -8.65,115.21 2027-05-01)",
        "Posisi dan kunjungan berikutnya (misalnya -8.65,115.21 2027-05-01)",
    ),
    "refused_identity": ("not the device that was meant", "bukan perangkat yang dimaksud"),
    "refused_clock": ("the clock is not right", "jam tidak benar"),
    "refused_test": ("the self-test says broken", "uji mandiri: rusak"),
    "refused_staff_few": (
        "{count} staff gauge readings; at least 3 are needed",
        "{count} bacaan papan duga; paling sedikit 3",
    ),
    "refused_staff_spread": (
        "the differences spread by {spread_mm} mm, 10 at most: wait for calmer water, read again",
        "selisihnya menyebar {spread_mm} mm, paling banyak 10: tunggu air tenang, baca lagi",
    ),
    "refused_thresholds": (
        "the thresholds were not confirmed by a second person",
        "ambang belum disetujui orang kedua",
    ),
    "refused_siren_silent": ("the silent test of the siren failed", "uji senyap sirene gagal"),
    "refused_siren_audible": (
        "the siren was heard with {dbc} dBC; at least 70 are needed",
        "sirene terukur {dbc} dBC; paling sedikit 70",
    ),
    "refused_tilt": (
        "tilt {tilt_deg} degrees; measure it, 2 at most, or the echo goes beside the water",
        "kemiringan {tilt_deg} derajat; ukur, paling banyak 2, atau gema meleset dari air",
    ),
    "refused_beam": (
        "something stands in the beam: move the sensor, or the level is of that",
        "ada benda di dalam berkas: pindahkan sensor, atau yang terukur benda itu",
    ),
    "refused_link_few": (
        "{asked} frames asked, {answered} answered; at least 20 have to be asked",
        "{asked} bingkai dikirim, {answered} dijawab; paling sedikit 20 harus dikirim",
    ),
    "refused_link": (
        "margin {margin_db} dB by {gateways} gateways, {answered} of {asked} answered;"
        " needed: 10 dB, one gateway, 9 of 10",
        "margin {margin_db} dB oleh {gateways} gateway, {answered} dari {asked} dijawab;"
        " perlu: 10 dB, satu gateway, 9 dari 10",
    ),
    "refused_photo": (
        "no photo; at least one file that can be read",
        "tidak ada foto; paling sedikit satu berkas yang terbaca",
    ),
    "refused_place": ("position or date cannot be read", "posisi atau tanggal tidak terbaca"),
    "certified": ("certificate {path}", "sertifikat {path}"),
    "offset": (
        "set sensor_height_mm to {height_mm} (it was {old_mm})",
        "ubah sensor_height_mm menjadi {height_mm} (sebelumnya {old_mm})",
    ),
}


# What an error is about, as it stands in its English text: what to do, in Indonesian.
_ADVICE = (
    ("there is no such port", "tidak ada port itu: ganti kabel, banyak kabel hanya mengisi daya"),
    ("busy", "port sedang dipakai: tutup Thonny atau konsol lain"),
    ("you may not use it", "tidak berizin: masukkan pengguna ke grup dialout, lalu masuk ulang"),
    ("say which port", "sebutkan port: --port PORT"),
    ("no answer from MicroPython", "papan tidak menjawab: pasang MicroPython, atau tekan RESET"),
    ("wrong board", "papan yang tersambung bukan yang disebut"),
    ("does not fit", "MicroPython di papan tidak cocok: pasang versi yang lebih baru"),
    ("refused, signature", "paket bukan dari kunci yang dipercaya papan"),
    ("refused, version", "papan sudah punya rilis yang lebih baru"),
    ("refused, model", "paket untuk jenis papan lain"),
    ("another release key", "papan percaya kunci lain; untuk mengganti: --change-key"),
    ("the package is for", "paket untuk jenis papan lain"),
    ("not an update package", "berkas ini bukan paket rilis"),
    ("did not arrive whole", "berkas tidak tiba utuh: flash mungkin penuh atau aus"),
    ("stopped answering", "alat berhenti menjawab: periksa kabel, lalu ulangi"),
    ("exists already", "berkas sudah ada; rahasia tidak ditimpa"),
    ("cannot be read", "berkas tidak dapat dibaca"),
    ("No such file", "berkas tidak ditemukan"),
)


def advice(language: str, error: str) -> str:
    """What to do about an error, in Indonesian; nothing in English, where the text itself says."""
    if language == "id":
        for part, text in _ADVICE:
            if part in error:
                return text
    return ""


def say(language: str, key: str, **values: object) -> str:
    """The text `key`; unknown values in it are a bug and raise KeyError."""
    return _WORDS[key][LANGUAGES.index(language)].format(**values)


def all_keys() -> tuple[str, ...]:
    """All texts there are, for tests."""
    return tuple(_WORDS)
