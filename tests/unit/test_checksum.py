"""A SHA-256 in each notation in which applications keep it, and what is none."""

import base64
from hashlib import md5, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.checksum import hex_of

DIGEST = sha256(b"content").digest()
HEX, BASE64 = DIGEST.hex(), base64.b64encode(DIGEST).decode()


@pytest.mark.parametrize(
    "written",
    [
        HEX,
        HEX.upper(),
        f"  {HEX}\n",
        f"sha256:{HEX}",
        f"SHA-256={BASE64}",
        BASE64,
        BASE64.rstrip("="),
    ],
)
def test_what_is_read(written):
    """Hex in any case, base64 as S3 writes it, either with its name before it."""
    assert hex_of(written) == HEX


@given(st.binary(min_size=32, max_size=32))
def test_base64_of_urls_is_read_too(digest):
    """With `-` and `_`, padded or not."""
    written = base64.urlsafe_b64encode(digest).decode()
    assert {hex_of(written), hex_of(written.rstrip("=")), hex_of(digest.hex())} == {digest.hex()}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "-",
        md5(b"content", usedforsecurity=False).hexdigest(),
        HEX[:-1],
        HEX + "0",
        HEX[:-1] + "g",
        f"{BASE64}-7",
        BASE64[:-2],
        f"md5:{HEX}",
        "\uff11" * 64,
    ],
)
def test_what_is_no_checksum_of_the_content(written):
    """Another length, another alphabet, S3's checksum of parts."""
    assert hex_of(written) is None


@given(st.text())
def test_any_text_is_either_read_or_not(written):
    """It never raises, and what it returns is 64 digits."""
    found = hex_of(written)
    assert found is None or (len(found) == 64 and bytes.fromhex(found).hex() == found)
