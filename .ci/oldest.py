"""Print the oldest version that pyproject.toml allows of each package, as constraints for pip.

PyTorch stays that of constraints.txt: of older ones package registries have the builds for GPUs alone, gigabytes large.
"""

import re
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
EXTRAS = ("dashboard", "onnx", "parquet", "web")


def main() -> None:
    """Print them."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *(each for extra in EXTRAS for each in project["optional-dependencies"][extra])]
    pinned = (HERE / "constraints.txt").read_text(encoding="utf-8").split()
    pins = dict(line.split("==") for line in pinned if "==" in line)
    for requirement in needed:
        name, version = re.match(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement).groups()
        print(f"{name}=={pins['torch'] if name == 'torch' else version}")


if __name__ == "__main__":
    main()
