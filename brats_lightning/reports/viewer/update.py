"""Take another version of NiiVue into this package: `python -m brats_lightning.reports.viewer.update 0.69.0`.

For people with a network. The archive is checked against the hash that npm's registry has published, and it is looked
at whether the file can stand in a page at all, and whether all that is bundled in it is named in NOTICES. Run the tests
afterwards: they look at what the viewer draws.
"""

import base64
import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from brats_lightning.errors import BratsError
from brats_lightning.reports.html.page import can_stand_in_a_page
from brats_lightning.reports.viewer.section import NIIVUE, RECORD

PACKAGE, FILE, CONTENTS, ABOUT = "@niivue/niivue", "dist/niivue.umd.js", "dist/metafile-esm.json", "package.json"
LICENCE = "BSD-2-Clause"
"""That the file LICENSE holds."""
REGISTRY = "https://registry.npmjs.org"
SECONDS = 60.0
NOTICES = Path(__file__).parent / "NOTICES"
_BUNDLED = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/(?!.*node_modules/)")


def update(version: str, *, registry: str = REGISTRY) -> None:
    """Fetch a version from npm's registry and put it in place of the one that is there.

    Args:
        version: Number, or a name such as `latest`.
        registry: Address of the registry, or of a mirror of it.

    Raises:
        BratsError: The registry does not give it, what it gives is not what it has published, or it cannot be used.
    """
    address = f"{registry}/{quote(PACKAGE, safe='@')}/{quote(version)}"
    try:
        told = json.loads(_fetch(address))
        number, archive, published = str(told["version"]), str(told["dist"]["tarball"]), str(told["dist"]["integrity"])
    except (ValueError, KeyError, TypeError) as error:
        raise BratsError(f"{address} does not say where the archive lies and what its hash is: try later") from error
    content = _fetch(archive)
    if (found := integrity(content)) not in published.split():
        raise BratsError(f"{archive} is not what was published: expected {published}, found {found}: fetch it again")
    put_in_place(content, version=number)


def integrity(content: bytes) -> str:
    """The hash of an archive as npm writes it.

    Example:
        >>> integrity(b"")[:20]
        'sha512-z4PhNX7vuL3xV'
    """
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _fetch(address: str) -> bytes:
    if not address.startswith(("https://", "http://")):
        raise BratsError(f"{address} is no address of a registry: expected https://…")
    try:
        with urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - the scheme is looked at above
            content: bytes = answer.read()
    except HTTPError as error:
        raise BratsError(f"the registry has no {address} ({error.code} {error.reason}): look at the version") from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise BratsError(f"{address} cannot be fetched ({reason}): a network is needed") from error
    return content


def put_in_place(archive: bytes, *, version: str) -> None:
    """Take the library out of npm's archive and record its hash.

    Raises:
        BratsError: It cannot be used as it is.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as package:
            script, contents, about = (_read(package, name) for name in (FILE, CONTENTS, ABOUT))
    except tarfile.TarError as error:
        raise BratsError(f"version {version} came as no archive of npm's ({error}): fetch it again") from error
    if (licence := json.loads(about).get("license")) != LICENCE:
        raise BratsError(f"version {version} is under {licence}, expected {LICENCE}: read it, and mend LICENSE first")
    if unnamed := sorted(bundled(contents.decode()) - named(NOTICES.read_text(encoding="utf-8"))):
        raise BratsError(f"version {version} bundles {', '.join(unnamed)}: add their licences to {NOTICES.name} first")
    if not can_stand_in_a_page(script.decode()):
        raise BratsError(f"version {version} holds </script, <!-- or a carriage return: it cannot stand in a page")
    digest = hashlib.sha256(script).hexdigest()
    record = {"package": PACKAGE, "version": version, "file": FILE, "sha256": digest}
    NIIVUE.write_bytes(script)
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def bundled(metafile: str) -> set[str]:
    """Packages that a metafile of esbuild names as parts of a bundle."""
    inputs = json.loads(metafile)["inputs"]
    return {match[1] for name in inputs if (match := _BUNDLED.search(name))}


def named(notices: str) -> set[str]:
    """Packages that the notices name in their first part."""
    listed = notices.partition("npm packages\n")[2].partition("\n\n")[0]
    return {line.split()[0] for line in listed.splitlines()}


def _read(package: tarfile.TarFile, name: str) -> bytes:
    try:
        file = package.extractfile(f"package/{name}")
    except KeyError:
        file = None
    if file is None:
        raise BratsError(f"the archive has no {name}: look at what has become of it")
    return file.read()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m brats_lightning.reports.viewer.update VERSION")
    try:
        update(sys.argv[1])
    except BratsError as problem:
        sys.exit(str(problem))
