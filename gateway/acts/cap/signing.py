"""Signed alerts: `Signer` signs, `verify` checks a signature and who made it.

Enveloped XML-DSig with ECDSA P-256 and SHA-256, exclusive canonicalisation, over the whole alert.
The certificate travels in the message, so anybody can check that nothing was changed; only a
receiver that has pinned it knows that the message is ours. `verify` trusts the pin and nothing
else: no authority, no other key, no other algorithm, no part of a document.
"""

import base64
import hmac
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from gateway.acts.cap.message import NAMESPACE
from gateway.config import ConfigError

ALERT_BYTES_MAX = 1_000_000
_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
# The pin is what is trusted, and a Pi may sign before it knows the year: no dates that matter.
_FROM, _UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2079, 12, 31, tzinfo=UTC)


class AlertError(Exception):
    """A file is not an alert signed by the pinned key; the text says why."""


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate as "AB:CD:...", the form that is read out and pinned."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def make_key(path: Path, name: str) -> x509.Certificate:
    """Write a new key (0600) and its certificate beside it (.crt). Raises OSError if one is there.

    `name` is the common name in the certificate, at most 64 characters.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(path, secret, 0o600)
    try:
        _write_new(path.with_suffix(".crt"), certificate.public_bytes(Encoding.PEM), 0o644)
    except OSError:
        path.unlink()
        raise
    return certificate


def _write_new(path: Path, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise


class Signer:
    """One key and its certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @staticmethod
    def load(key_file: Path, cert_file: Path) -> "Signer":
        """Raises ConfigError with the cure."""
        cure = f"make one: tukad gateway cap-key {key_file}"
        try:
            mode = key_file.stat().st_mode
            key = load_pem_private_key(key_file.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        except FileNotFoundError as error:
            raise ConfigError(f"{error.filename}: there is no such file; {cure}") from None
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{key_file}: the key of [cap] cannot be read: {error}") from None
        if mode & 0o077:
            raise ConfigError(f"{key_file}: others may read the key of [cap]: chmod 600 {key_file}")
        is_p256 = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
        if not is_p256 or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{key_file}: is not an ECDSA P-256 key; {cure}")
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"{cert_file}: is not the certificate of {key_file}")
        return Signer(key, certificate)

    @property
    def pem(self) -> bytes:
        """The certificate, to be pinned by who compared its fingerprint."""
        return self.certificate.public_bytes(Encoding.PEM)

    def sign(self, alert: bytes) -> bytes:
        """A CAP message with its signature as last child."""
        signxml = _signxml()
        signer = signxml.XMLSigner(
            method=signxml.SignatureConstructionMethod.enveloped,
            signature_algorithm=signxml.SignatureMethod.ECDSA_SHA256,
            digest_algorithm=signxml.DigestAlgorithm.SHA256,
            c14n_algorithm=signxml.CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        root = signer.sign(_parse(alert), key=self._key, cert=[self.certificate])
        return _etree().tostring(root, xml_declaration=True, encoding="UTF-8")


def _etree() -> Any:
    return import_module("lxml.etree")  # here and below: only where alerts are used, 0.2 s


def _signxml() -> Any:
    return import_module("signxml")


def warm_up() -> None:
    """Load the libraries now, not with the first alarm."""
    _signxml()


def _parse(data: bytes) -> Any:
    """An element from XML without entities, network or white space between elements."""
    etree = _etree()
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_blank_text=True,
    )
    if len(data) > ALERT_BYTES_MAX:
        raise AlertError(f"is larger than {ALERT_BYTES_MAX} bytes")
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise AlertError(f"is not XML: {error}") from None
    if root.getroottree().docinfo.doctype:
        raise AlertError("has a document type, which no alert has")
    # A comment is not signed, but cuts the text that many readers see.
    if any(not isinstance(one.tag, str) for one in root.iter()):
        raise AlertError("has comments or processing instructions, which we never write")
    return root


def read_pin(text: str) -> str:
    """The fingerprint of a pin: a certificate file or 64 hexadecimal digits, colons allowed."""
    digits = re.sub(r"[:\s]", "", text).upper()
    if re.fullmatch(r"[0-9A-F]{64}", digits):
        return digits
    try:
        certificate = x509.load_pem_x509_certificate(Path(text).read_bytes())
    except (OSError, ValueError) as error:
        raise AlertError(
            f"the pin {text} is neither a SHA-256 fingerprint nor a certificate: {error}"
        ) from None
    return certificate.fingerprint(hashes.SHA256()).hex().upper()


def verify(data: bytes, pin: str) -> dict[str, str]:
    """Check a signed alert against a pin of `read_pin`; return its main elements by name.

    Raises AlertError. What is returned is read from what was signed.
    """
    signxml = _signxml()
    root = _parse(data)
    if root.tag != f"{{{NAMESPACE}}}alert":
        raise AlertError("is not a CAP 1.2 alert")
    dsig = "{http://www.w3.org/2000/09/xmldsig#}"
    signatures = list(root.iter(f"{dsig}Signature"))
    if not signatures:
        raise AlertError("is not signed")
    if len(signatures) != 1 or signatures[0].getparent() is not root:
        raise AlertError("has more than one signature, or one in the wrong place")
    texts = [one.text or "" for one in signatures[0].iter(f"{dsig}X509Certificate")]
    certificate = _pinned(texts, pin)
    config = signxml.SignatureConfiguration(
        require_x509=True,
        location="./",
        expect_references=1,
        signature_methods=frozenset([signxml.SignatureMethod.ECDSA_SHA256]),
        digest_algorithms=frozenset([signxml.DigestAlgorithm.SHA256]),
    )
    try:
        result: Any = signxml.XMLVerifier().verify(
            root, x509_cert=certificate, expect_config=config
        )
    except (
        signxml.exceptions.SignXMLException,
        _etree().LxmlError,
        InvalidSignature,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:  # of a document that is not a signature at all, too
        raise AlertError(f"the signature does not fit: {error}") from None
    signed: Any = result.signed_xml
    whole = [one for one in root if one is not signatures[0]]
    if signed is None or signed.tag != root.tag or len(signed) != len(whole):
        raise AlertError("only a part of it is signed")
    names = ("identifier", "sender", "sent", "status", "msgType", "scope", "incidents")
    return {name: signed.findtext(f"{{{NAMESPACE}}}{name}") or "" for name in names}


def _pinned(texts: list[str], pin: str) -> x509.Certificate:
    for text in texts:
        try:
            certificate = x509.load_der_x509_certificate(base64.b64decode("".join(text.split())))
        except ValueError:
            continue
        found = certificate.fingerprint(hashes.SHA256()).hex().upper()
        if hmac.compare_digest(found, pin):
            return certificate
    raise AlertError("is signed with another key than the pinned one, or names none")


__all__ = ["AlertError", "Signer", "fingerprint", "make_key", "read_pin", "verify", "warm_up"]
