"""GPT-2's byte alphabet: how a vocabulary file writes bytes as characters."""


def _make_char_of_byte():
    """Printable bytes stand for themselves; the other 68 are U+0100 and on, in ascending order."""
    chars = []
    other = 0x100
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            chars.append(chr(byte))
        else:
            chars.append(chr(other))
            other += 1
    return chars


CHAR_OF_BYTE = _make_char_of_byte()
BYTE_OF_CHAR = {char: byte for byte, char in enumerate(CHAR_OF_BYTE)}


def token_bytes(token):
    """The bytes that a vocabulary string stands for; None if it is no string of the alphabet."""
    try:
        return bytes(BYTE_OF_CHAR[char] for char in token)
    except KeyError:
        return None


def token_string(data):
    """The vocabulary string of some bytes."""
    return "".join(CHAR_OF_BYTE[byte] for byte in data)
