r"""Downloading an archive completely or not at all."""

import hashlib
import ssl
import tempfile
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

_TIMEOUT = 30.0  # seconds without any byte from the server


def download_and_unpack(url: str, md5: str, directory: Path) -> None:
    r"""Unpacks the zip archive at :obj:`url` into :obj:`directory`, or leaves nothing behind.

    All work happens in a temporary directory beside :obj:`directory`, which is renamed at the very
    end. The digest alone vouches for the content: certificates are not checked, because servers of
    old data sets let them expire.

    Args:
        url (str): The address of the archive.
        md5 (str): The MD5 digest that the archive must have.
        directory (pathlib.Path): A directory that is missing or empty.

    Raises:
        ValueError: If the digest differs.
        OSError: If the address cannot be reached, or :obj:`directory` cannot be written.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    beside = next(parent for parent in directory.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=".download-", dir=beside) as temporary:
        archive, content = Path(temporary, "archive.zip"), Path(temporary, "content")
        digest = hashlib.md5(usedforsecurity=False)
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT, context=context) as response,
            archive.open("wb") as file,
            tqdm(desc=f"Downloading {url}", unit="B", unit_scale=True) as progress,
        ):
            progress.total = int(response.headers.get("Content-Length", 0)) or None
            while chunk := response.read(2**20):
                file.write(chunk)
                digest.update(chunk)
                progress.update(len(chunk))
        if digest.hexdigest() != md5:
            raise ValueError(f"the MD5 digest is {digest.hexdigest()} instead of {md5}")
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(content)
        directory.parent.mkdir(parents=True, exist_ok=True)
        if directory.is_dir():
            directory.rmdir()  # Windows puts nothing in the place of a directory, even an empty one
        content.replace(directory)
