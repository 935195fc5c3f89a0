"""What a file's name tells of it: which modality it is, and what the names of a case have in common."""

import re
import unicodedata
from collections.abc import Sequence

from brats_lightning.web.records import Kind

LONGEST_NAME = 120
_ENDING = re.compile(r"(\.(nii|gz|png|jpe?g|mat|mha|zip))+$", re.IGNORECASE)
_BORDER = " ._-+,;()[]"
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z])")
_BEFORE = r"(?:ax|axial|tra|sag|cor|3d|2d|se|tse|fse)?"
_T1 = re.compile(rf"{_BEFORE}(?P<before>c|ce|gd|pre)?t1(?:w|wi|weighted)?(?P<after>\D*)")
_T2 = re.compile(rf"{_BEFORE}t2(?:w|wi|weighted)?(?:tse|fse|n)?")
_SEQUENCES_OF_T1 = {"mprage", "mpr", "spgr", "fspgr", "bravo", "vibe"}
_AGENT = {
    "gad",
    "gado",
    "gadolinium",
    "gadovist",
    "gadavist",
    "dotarem",
    "contrast",
    "postcontrast",
    "enhanced",
    "postgd",
}
"""Words for contrast agent wherever they stand; those below only behind a T1, where they are nobody's initials."""
_AGENT_BEHIND = {"c", "ce", "gd", "post", "postc", "postgad", "km", "cpost", "plusc", "pc", *_AGENT}
_NATIVE = {"n", "native", "nativ", "pre", "precontrast", "noncontrast", "plain", "unenhanced"}
_WITHOUT = {"without", "no", "non", "wo", "ohne", "sans"}
_NOT_CONTRAST = {"op", "operative", "surgery", "surgical", "treatment", "therapy", "rt", "radiation", "chemo", "biopsy"}
"""What `post` may mean instead."""
_SEGMENTATION = {
    "seg", "segm", "segmentation", "label", "labels", "labelmap", "gt", "truth", "groundtruth", "annotation",
    "tumormask", "tumourmask", "lesionmask",
}  # fmt: skip
_TUMOUR = {"tumor", "tumour", "lesion", "glioma"}
_OTHER_MASKS = {"brain", "skull", "head", "tissue", "vessel", "ventricle", "wm", "gm", "csf", "bet", "hdbet"}
_MADE_BY_PROGRAMS = {"pred", "predicted", "prediction", "predictions", "auto", "automated", "automatic"}
_OTHER = {
    "adc", "dwi", "dti", "trace", "fa", "md", "b0", "b1000", "swi", "gre", "star", "t2star", "t2s", "perf", "perfusion",
    "dsc", "dce", "asl", "cbf", "cbv", "rcbv", "ktrans", "mra", "mrv", "tof", "ct", "pet", "fdg", "bold", "fmri", "pd",
    "map", "mapping", "t1map", "t2map", "phase", "subtraction", "subtracted", "diff", "difference", "localizer",
    "localiser", "scout", "survey", "stir", "ciss", "fiesta", "aseg", "aparc", "dseg", "probseg", "prob", "probability",
    "entropy", "uncertainty", "warp", "transform", "template", "atlas", "brainmask", "roi",
}  # fmt: skip
"""Images and maps that are no kind known here, whatever else their names say."""


def shown_name(name: str) -> str:
    """The last part of a name or path, fit to be shown: no folders, control characters or turns of direction.

    >>> shown_name("C:/patients/../T1 gd.nii.gz")
    'T1 gd.nii.gz'
    """
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(letter if unicodedata.category(letter)[0] not in "CZ" else " " for letter in last)
    return " ".join(unicodedata.normalize("NFC", plain).split())[-LONGEST_NAME:].strip() or "file"


def without_ending(name: str) -> str:
    """A file's name without the endings of images.

    >>> without_ending("BraTS2021_00006_t1ce.nii.gz")
    'BraTS2021_00006_t1ce'
    """
    return _ENDING.sub("", name)


def kind_of(name: str) -> Kind | None:
    """What a file's name says that it is, None where it does not say so plainly.

    The ways of all BraTS editions are known, and those of clinics. A T1 of which no agent is told is taken for native.

    >>> kind_of("Brats18_2013_21_1_t1ce.nii.gz"), kind_of("AX T2 FLAIR.nii"), kind_of("T1_to_T2.nii.gz")
    ('t1c', 't2f', None)
    """
    stem = without_ending(shown_name(name))
    if re.search(r"t2\s?\*|t1w?[\s_]?-[\s_]?c(?![a-z])", stem, re.IGNORECASE):  # minus agent, or a dash?
        return None
    words = [word for word in re.split(r"[\W_]+", _CAMEL.sub(" ", stem).lower()) if word]
    known = set(words)
    if known & (_SEGMENTATION | {"mask", "masks"}):
        return _segmentation(known)
    if known & _OTHER or any(word.startswith("mask") or word.endswith("mask") for word in words):
        return None
    t1 = [place for place, word in enumerate(words) if _is_t1(word)]
    is_t2 = any(_T2.fullmatch(word) for word in words)
    if any("flair" in word for word in words) or {"t2f", "fla", "darkfluid"} & known or {"dark", "fluid"} <= known:
        return None if t1 else "t2f"
    if is_t2:
        return None if t1 else "t2w"
    return _contrast(words, t1[0]) if t1 else None


def _segmentation(known: set[str]) -> Kind | None:
    if known & (_OTHER | _MADE_BY_PROGRAMS) or (known & _OTHER_MASKS and not known & _TUMOUR):
        return None
    return "seg" if known & _SEGMENTATION or known & _TUMOUR else None


def _is_t1(word: str) -> bool:
    match = _T1.fullmatch(word)
    return word in _SEQUENCES_OF_T1 or (
        match is not None and match["after"] in {"", *_AGENT_BEHIND, *_NATIVE, *_SEQUENCES_OF_T1}
    )


def _contrast(words: Sequence[str], first: int) -> Kind | None:
    """Whether a T1 is with contrast agent, None where that is unsure.

    Args:
        words: Of the name.
        first: Which of them says T1.
    """
    behind, known = set(words[first + 1 :]), set(words)
    if "post" in known and known & _NOT_CONTRAST:
        return None
    parts = [match for word in words if (match := _T1.fullmatch(word))]
    glued = {part for match in parts for part in (match["before"], match["after"]) if part}
    agent = bool(known & _AGENT or behind & _AGENT_BEHIND or glued & _AGENT_BEHIND)
    native = bool((known - {"n"}) & _NATIVE or glued & _NATIVE or words[first + 1 : first + 2] == ["n"])
    if known & _WITHOUT:
        return "t1n" if known & _AGENT and not glued & _AGENT_BEHIND else None
    if agent and native:
        return None
    if not agent and known & (_AGENT_BEHIND - {"c"}):  # ahead of the T1: an agent, a time, or somebody's initials
        return None
    return "t1c" if agent else "t1n"


def common_name(names: Sequence[str]) -> str:
    """What the names of a case's files have in common, up to what they say of the modality.

    >>> common_name(["BraTS2021_00006_t1.nii.gz", "BraTS2021_00006_t1ce.nii.gz"])
    'BraTS2021_00006'
    >>> common_name(["BraTS-GLI-00027-000-t2f.nii.gz"]), common_name(["T1.nii.gz", "FLAIR.nii.gz"])
    ('BraTS-GLI-00027-000', 'case')
    """
    parts = [re.findall(r"[^\W_]+|[\W_]+", without_ending(name)) for name in names]
    shared: list[str] = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1 or kind_of(words[0]) is not None:
            break
        shared.append(words[0])
    return "".join(shared).strip(_BORDER) or "case"
