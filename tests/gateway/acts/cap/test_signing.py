"""Only what the pinned key signed, whole and unchanged, is believed."""

import base64
import copy
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
import signxml
from hypothesis import HealthCheck, given, settings
from lxml import etree

from gateway.acts.cap.incident import Incidents, Moment
from gateway.acts.cap.message import Place, build
from gateway.acts.cap.settings import CapSettings
from gateway.acts.cap.signing import AlertError, Signer, make_key, read_pin, verify
from gateway.config import ConfigError
from gateway.rules.stages import Site
from tests.gateway.acts.cap.world import CAP, alarm
from tests.gateway.samples import START_MS

DS = "{http://www.w3.org/2000/09/xmldsig#}"


class Party:
    """Somebody with a key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        make_key(folder / "cap.key", "Tukad")
        self.signer = Signer.load(folder / "cap.key", folder / "cap.crt")
        self.pin = read_pin(str(folder / "cap.crt"))
        section = CapSettings(sender="a@b")
        (draft,) = Incidents(section).feed(alarm(level=3, time_ms=START_MS), Moment(START_MS))
        place = Place(name="x", site=Site(), position=None, versions={})
        self.plain = build(draft, section, place)
        self.xml = self.signer.sign(self.plain)


@pytest.fixture(scope="module")
def us(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("keys") / "us")


@pytest.fixture(scope="module")
def them(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("keys") / "them")


def refused(xml: bytes, pin: str) -> str:
    with pytest.raises(AlertError) as error:
        verify(xml, pin)
    return str(error.value)


def test_ours_is_good_also_when_white_space_was_added(us: Party) -> None:
    assert verify(us.xml, us.pin)["msgType"] == "Alert"
    pretty = etree.tostring(etree.fromstring(us.xml), pretty_print=True)
    assert verify(pretty, us.pin)["sender"] == "a@b"


def test_every_changed_text_is_noticed(us: Party) -> None:
    root = etree.fromstring(us.xml)
    count = 0
    for index, one in enumerate(root.iter()):
        if one.tag.startswith(DS) or not one.text:
            continue
        other = copy.deepcopy(root)
        list(other.iter())[index].text += "1"
        assert "signature does not fit" in refused(etree.tostring(other), us.pin)
        count += 1
    assert count > 30


def test_unsigned_and_other_keys_are_refused(us: Party, them: Party) -> None:
    assert "not signed" in refused(us.plain, us.pin)
    assert "another key" in refused(them.xml, us.pin)
    # Their signature with our certificate beside it.
    root = etree.fromstring(them.xml)
    ours = etree.fromstring(us.xml).find(f".//{DS}X509Certificate")
    certificate = root.find(f".//{DS}X509Certificate")
    assert ours is not None and certificate is not None
    both = copy.deepcopy(root)
    both.find(f".//{DS}X509Data").append(copy.deepcopy(ours))  # type: ignore[union-attr]
    assert "does not fit" in refused(etree.tostring(both), us.pin)
    certificate.text = ours.text
    assert "does not fit" in refused(etree.tostring(root), us.pin)


def test_a_good_alert_inside_a_forged_one_is_refused(us: Party) -> None:
    """Signature wrapping: what is checked must be what is read."""
    forged = etree.fromstring(us.plain)
    forged.find(f"{CAP}msgType").text = "Cancel"  # type: ignore[union-attr]
    genuine = etree.fromstring(us.xml)
    inside = copy.deepcopy(forged)
    inside.append(copy.deepcopy(genuine))
    assert "wrong place" in refused(etree.tostring(inside), us.pin)
    moved = copy.deepcopy(forged)
    moved.append(copy.deepcopy(genuine.find(f"{DS}Signature")))
    assert "does not fit" in refused(etree.tostring(moved), us.pin)
    twice = copy.deepcopy(genuine)
    twice.append(copy.deepcopy(genuine.find(f"{DS}Signature")))
    assert "more than one" in refused(etree.tostring(twice), us.pin)


def test_comments_entities_and_other_documents_are_refused(us: Party) -> None:
    text = us.xml.decode()
    commented = text.replace("Alert</msgType>", "Al<!-- x -->ert</msgType>", 1).encode()
    assert "comments" in refused(commented, us.pin)
    bomb = text.replace("?>", '?><!DOCTYPE alert [<!ENTITY a "b">]>', 1).encode()
    assert "document type" in refused(bomb, us.pin)
    assert "not a CAP" in refused(b"<alert/>", us.pin)
    assert "not XML" in refused(b"\x00\xff", us.pin)
    assert "larger" in refused(b"<a>" + b" " * 2_000_000 + b"</a>", us.pin)


def test_a_weaker_method_is_refused(us: Party) -> None:
    text = us.xml.decode()
    for strong, weak in (
        ("2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1"),
        ("xmldsig-more#ecdsa-sha256", "xmldsig-more#hmac-sha256"),
    ):
        assert strong in text
        refused(text.replace(strong, weak).encode(), us.pin)


def test_another_method_is_refused_even_with_our_key(us: Party) -> None:
    """What we never do is not ours."""
    signer = signxml.XMLSigner(
        signature_algorithm=signxml.SignatureMethod.ECDSA_SHA384,
        digest_algorithm=signxml.DigestAlgorithm.SHA256,
        c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    root = signer.sign(etree.fromstring(us.plain), key=us.signer._key, cert=[us.signer.certificate])
    assert "does not fit" in refused(etree.tostring(root), us.pin)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.integers(0, 3000), bits=st.integers(1, 255))
def test_any_changed_byte_is_refused_or_means_the_same(us: Party, at: int, bits: int) -> None:
    """Nothing but AlertError comes out, and what is believed says what we said."""
    data = bytearray(us.xml)
    data[at % len(data)] ^= bits
    try:
        found = verify(bytes(data), us.pin)
    except AlertError:
        return
    assert found == verify(us.xml, us.pin)


def test_a_pin_is_a_certificate_or_its_fingerprint(us: Party, tmp_path: Path) -> None:
    colons = ":".join(re.findall("..", us.pin)).lower()
    assert read_pin(colons) == us.pin
    with pytest.raises(AlertError, match="neither"):
        read_pin(us.pin[:-2])
    with pytest.raises(AlertError, match="neither"):
        read_pin(str(tmp_path / "nothing"))


def test_a_wrong_key_file_says_what_to_do(tmp_path: Path) -> None:
    key, crt = tmp_path / "cap.key", tmp_path / "cap.crt"
    with pytest.raises(ConfigError, match="tukad gateway cap-key"):
        Signer.load(key, crt)
    make_key(key, "a")
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Signer.load(key, crt)
    key.chmod(0o600)
    make_key(tmp_path / "b.key", "b")
    with pytest.raises(ConfigError, match="is not the certificate of"):
        Signer.load(key, tmp_path / "b.crt")
    key.write_bytes(base64.b64encode(b"nonsense"))
    with pytest.raises(ConfigError, match="cannot be read"):
        Signer.load(key, crt)
