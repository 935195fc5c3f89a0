"""Take another version of NiiVue into this package: `python -m brats_lightning.reports.viewer.update 0.69.0`.

For people, with npm and a network. npm checks the package against the registry's hash; here it is looked at whether the
file can stand in a page at all, and whether all that is bundled in it is named in NOTICES. Run the tests afterwards:
they look at what the viewer draws.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.reports.html.page import can_stand_in_a_page
from brats_lightning.reports.viewer.section import NIIVUE, RECORD

PACKAGE, FILE, CONTENTS = "@niivue/niivue", "dist/niivue.umd.js", "dist/metafile-esm.json"
NOTICES = Path(__file__).parent / "NOTICES"
_BUNDLED = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/(?!.*node_modules/)")


def update(version: str) -> None:
    """Fetch a version from npm and put it in place of the one that is there.

    Raises:
        BratsError: npm does not give it, or it cannot be used as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{PACKAGE}@{version}", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a fixed command
        except OSError as error:
            raise BratsError(f"npm is needed and does not start ({error.strerror}): install it") from error
        except subprocess.CalledProcessError as error:
            raise BratsError(f"npm has no {PACKAGE}@{version} to give: {error.stderr.strip()[-300:]}") from error
        (archive,) = Path(folder).glob("*.tgz")
        put_in_place(archive.read_bytes(), version=version)


def put_in_place(archive: bytes, *, version: str) -> None:
    """Take the library out of npm's archive and record its hash.

    Raises:
        BratsError: It cannot be used as it is.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        script, contents = (_read(package, name) for name in (FILE, CONTENTS))
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
