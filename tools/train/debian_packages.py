"""Fetches the files of Debian packages without installing them."""

import subprocess
from pathlib import Path

#: What the training data is made from; DATA.md names the licences.
PACKAGES = ("wordnet-base", "manpages")


def fetch(name, directory):
    """The folder with the unpacked package; downloaded unless it is there already."""
    directory = Path(directory)
    unpacked = directory / name
    if unpacked.is_dir():
        return unpacked
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", name], cwd=directory, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (archive,) = directory.glob(f"{name}_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
    return unpacked
