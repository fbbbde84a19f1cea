"""What a data file is by its name, and by its first and last bytes: enough to refuse a wrong one before it is queued.

Standard library only: the command line asks, which imports neither numpy nor pyarrow.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import PurePath

HEAD_BYTES = 4096
TAIL_BYTES = 22 + 65535
"""A zip archive ends with 22 bytes, and a comment of at most 65,535."""

ARCHIVES = (".npz", ".npy")
TEXTS = (".csv", ".tsv", ".txt")
TABLES = (*TEXTS, ".parquet")
COMPRESSED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}
"""What a csv file may be packed with, as in `a.csv.gz`, and how that begins."""

MAX_FILES = 2000
"""Of one table: a trainer keeps all of them open."""

KNOWN = ".npz, .npy, .csv, .tsv or .txt (also .gz or .zst of these three), or .parquet"

BEGINS = {
    ".npz": (b"PK\x03\x04", b"PK\x05\x06"),
    ".npy": (b"\x93NUMPY",),
    ".parquet": (b"PAR1",),
    **{suffix: (magic,) for suffix, magic in COMPRESSED.items()},
}
NAMES = {
    ".npz": "an npz file",
    ".npy": "an npy file",
    ".parquet": "a parquet file",
    ".gz": "a gzip file",
    ".zst": "a zstd file",
    **dict.fromkeys(TEXTS, "a csv file"),
}
ENCODINGS = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252", "iso-8859-15", "iso-8859-2", "cp1250", "cp1251",
    "koi8-r", "iso-8859-7", "cp437", "cp850", "mac-roman", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr",
)  # fmt: skip
"""Of csv files; a trainer has loaded these before it loses the right to read Python's own files."""

ALIASES = {
    "utf8": "utf-8", "utf-8-sig": "utf-8", "utf16": "utf-16", "latin1": "latin-1", "iso-8859-1": "latin-1",
    "windows-1250": "cp1250", "windows-1251": "cp1251", "windows-1252": "cp1252", "ansi": "cp1252",
    "sjis": "shift_jis", "gbk": "gb18030", "gb2312": "gb18030", "ascii": "utf-8",
}  # fmt: skip
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

EXCEL = "an Excel workbook"
HDF5 = "an HDF5 file"
PICKLE = "a pickle (reading one may run any code)"
OF_EXCEL = "pandas.read_excel(FILE).to_csv('data.csv', index=False)"
OF_HDF5 = "numpy.savez('data.npz', x=h5py.File(FILE)['x'][:], ...), or pandas.read_hdf(FILE).to_parquet('data.parquet')"
OF_PICKLE = "pandas.read_pickle(FILE).to_parquet('data.parquet'), or numpy.savez('data.npz', x=...)"
OF_FEATHER = "pandas.read_feather(FILE).to_parquet('data.parquet')"
OF_JSON = "pandas.read_json(FILE).to_csv('data.csv', index=False)"
OF_MATLAB = "numpy.savez('data.npz', **scipy.io.loadmat(FILE))"
OF_NETCDF = "xarray.open_dataset(FILE).to_dataframe().reset_index().to_parquet('data.parquet')"
REFUSED = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), (EXCEL, OF_EXCEL)),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), (HDF5, OF_HDF5)),
    **dict.fromkeys((".pkl", ".pickle"), (PICKLE, OF_PICKLE)),
    **dict.fromkeys((".feather", ".arrow"), ("a feather file", OF_FEATHER)),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), ("a JSON file", OF_JSON)),
    ".mat": ("a MATLAB file", OF_MATLAB),
    ".nc": ("a NetCDF file", OF_NETCDF),
}
"""By suffix: what such a file is, and how Python makes one of it that is read."""

CONTENTS = {
    b"\x89HDF": HDF5,
    b"\xd0\xcf\x11\xe0": EXCEL,
    b"ARROW1": "a feather file",
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
}


def encoding(name: object) -> object:
    """The name of ENCODINGS for one that people use; any other as it is."""
    if not isinstance(name, str):
        return name
    plain = name.lower().replace("_", "-") if name not in ENCODINGS else name
    return ALIASES.get(plain, next((one for one in ENCODINGS if one.replace("_", "-") == plain), name))


@lru_cache(maxsize=4096)
def form(path: str) -> tuple[str, str]:
    """The suffix that says the format, and that of the compression or nothing: `.csv` and `.gz` of `a.csv.gz`."""
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes[-2:]]
    if is_pattern(suffixes[-1] if suffixes else PurePath(path).name):  # only tables can be put together
        return ".csv", ""
    if len(suffixes) == 2 and suffixes[1] in COMPRESSED and suffixes[0] in TEXTS:
        return suffixes[0], suffixes[1]
    return (suffixes[-1] if suffixes else ""), ""


def is_pattern(path: str) -> bool:
    """Whether a path may stand for several files, as `data/*.csv` does."""
    return any(sign in path for sign in "*?[")


def is_table(path: str) -> bool:
    return form(path)[0] in TABLES


def is_text(path: str) -> bool:
    """Whether it is read as csv."""
    return form(path)[0] in TEXTS


def unknown(path: str) -> str | None:
    """Why a data file's name is none that is read, with a way out; None for one that is."""
    suffix = form(path)[0]
    if suffix in (*ARCHIVES, *TABLES):
        return None
    if suffix in REFUSED:
        what, how = REFUSED[suffix]
        return (
            f'"{path}" is {what}, which is not read; convert it in Python: {how.replace("FILE", repr(path))}'
        )
    if suffix in COMPRESSED:
        return f'"{path}" is packed, and does not say what it holds; expected a name such as data.csv{suffix}'
    if suffix in (".zip", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz", ".lz4"):
        return f'"{path}" is packed in a way that is not read; unpack it, or pack it with gzip or zstd'
    return f'the data file "{path}" has no format that is known; expected {KNOWN}'


def problem(path: str, head: bytes, tail: bytes) -> str | None:
    """What is wrong with a data file whose name ends as `path` does; None where nothing is to be seen."""
    suffix, packed = form(path)
    expected = NAMES.get(packed or suffix)
    if expected is None:
        return None
    if not head:
        return f"is empty; expected {expected}"
    if wrong := _foreign(head):
        how = f": convert it in Python: {OF_EXCEL}" if wrong == EXCEL else ""
        return f"is {wrong} by its content; expected {expected}{how}"
    found = next((other for other, magics in BEGINS.items() if head.startswith(magics)), None)
    if found is not None and found != (packed or suffix):
        name = f"{suffix}{found}" if found in COMPRESSED and suffix in TEXTS else found
        return f"is {NAMES[found]} by its content; expected {expected}: name it {name}"
    if packed:
        return None if found else f"begins with {head[:8]!r}; expected {expected}"
    if suffix in TEXTS:
        return _no_text(head)
    if found is None:
        return f"begins with {head[:8]!r}; expected {expected}"
    whole = {".npz": b"PK\x05\x06" in tail, ".parquet": tail.endswith(b"PAR1"), ".npy": True}[suffix]
    return None if whole else f"is cut short: its end is missing; expected the whole of {expected}"


def _foreign(head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head):
        return EXCEL
    return next((what for magic, what in CONTENTS.items() if head.startswith(magic)), None)


def _no_text(head: bytes) -> str | None:
    """Of UTF-16 every other byte may be 0."""
    if head.startswith(UTF_16) or b"\0" not in head:
        return None
    if not any(head[0::2]) or not any(head[1::2]):
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if min(even, odd) == 0 and max(even, odd) > len(head) // 4:
        return None
    return nul_in_row(head.count(b"\n", 0, head.index(0)) + 1)


def nul_in_row(row: int) -> str:
    """What is wrong with a text that has one there."""
    return (
        f"row {row} has a NUL byte (0x00); expected a csv file, which is text: a program that was cut off may have "
        "left it, write the file again"
    )
