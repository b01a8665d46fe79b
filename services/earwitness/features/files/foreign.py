"""What a file is that libsndfile does not decode, by its first bytes: so that a message tells the true cause."""

_SOUNDS = (
    ("Windows Media (WMA)", (bytes.fromhex("3026b2758e66cf11"),)),
    ("Matroska or WebM", (b"\x1a\x45\xdf\xa3",)),
    ("AMR", (b"#!AMR",)),
    ("AC-3", (b"\x0b\x77",)),
    ("DTS", (b"\x7f\xfe\x80\x01",)),
    ("Monkey's Audio", (b"MAC ",)),
    ("WavPack", (b"wvpk",)),
    ("Musepack", (b"MPCK", b"MP+")),
    ("True Audio", (b"TTA1",)),
    ("DSD", (b"DSD ", b"FRM8")),
    ("RealAudio", (b".RMF", b".ra\xfd")),
    ("AAC", (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9")),
)
_OTHERS = (
    ("MIDI, notes without sound", (b"MThd",)),
    ("a ZIP archive", (b"PK\x03\x04",)),
    ("compressed by gzip", (b"\x1f\x8b",)),
    ("a pointer of Git LFS, fetch the file itself", (b"version https://git-lfs",)),
)


def kind_of(head: bytes) -> tuple[str, bool]:
    """What begins with these bytes, its first 512, in words, empty for the unknown; and whether that is sound."""
    if head[4:8] == b"ftyp":
        return "AAC or ALAC in MP4 (M4A, MP4)", True
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "AVI", True
    for kinds, sound in ((_SOUNDS, True), (_OTHERS, False)):
        for words, marks in kinds:
            if head.startswith(marks):
                return words, sound
    if not any(head):
        return ("nothing but zeros" if head else "empty (0 bytes)"), False
    if b"<html" in head.lower():
        return "a web page", False
    return ("text" if _is_text(head) else ""), False


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as err:  # a letter may be cut in two at the end
        if err.start < len(head) - 3:
            return False
        text = head[: err.start].decode()
    return all(each.isprintable() or each.isspace() for each in text)
