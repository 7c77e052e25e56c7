import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from data_scripts.archives import archive as archives
from data_scripts.archives import tar_files
from data_scripts.archives.archive import ArchiveError
from data_scripts.archives.open_files import open_files
from data_scripts.archives.tar_files import CompressedTarFiles
from tests.data_scripts.fake_source import sent

CONTENT = {
    "data/proc_00000/annotations.csv": b"a,b\n" * 400,
    "data/proc_00000/color/00001_first.png": os.urandom(3000),
    "data/proc_00001/annotations.csv": b"",
    "data/proc_00001/color/\u00e9 x.png": b"\0" * 700,
    "readme": b"text",
}
JUNK = ["__MACOSX/data/._a.png", "data/.DS_Store", "data/proc_00000/color/._00001_first.png", "PaxHeaders.5/readme"]


def write_folder(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zip(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("data/", b"")
        for name, data in content.items():
            file.writestr(name, data)
    return path


def member(name: str, data: bytes = b"", **changes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def write_tar(path: Path, members, mode: str = "w", format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=format) as file:
        file.addfile(*member("./data", type=tarfile.DIRTYPE))
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return path


def write_any(kind: str, folder: Path, content: dict[str, bytes]) -> Path:
    members = [member("./" + name, data) for name, data in content.items()]
    if kind == "folder":
        return write_folder(folder / "files", content)
    if kind.startswith("zip"):
        return write_zip(
            folder / "a.bin", content, zipfile.ZIP_STORED if kind == "zip stored" else zipfile.ZIP_DEFLATED
        )
    if kind == "tar gnu":
        return write_tar(folder / "a.bin", members, format=tarfile.GNU_FORMAT)
    return write_tar(folder / "a.bin", members, "w" if kind == "tar" else f"w:{kind.split('.')[1]}")


KINDS = ["folder", "zip", "zip stored", "tar", "tar gnu", "tar.gz", "tar.bz2", "tar.xz"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_names_and_bytes(kind, tmp_path):
    long = {"deep/" * 30 + "file": b"long name"}  # beyond the 100 bytes of a plain tar header
    files = open_files(write_any(kind, tmp_path, CONTENT | long | dict.fromkeys(JUNK, b"junk")))
    assert files.names() == sorted(CONTENT | long)
    for name in reversed(files.names()):
        assert files.read(name, 3000) == (CONTENT | long)[name]
    for missing in ("nothing", "data", "data/proc_00000", *JUNK[:1]):
        with pytest.raises(FileNotFoundError, match=os.path.basename(missing)):
            if kind == "folder" and missing in JUNK:
                raise FileNotFoundError(missing)  # junk of a folder is not listed; nobody asks for it
            files.read(missing, 10)
    files.close()
    assert files.read("readme", 4) == b"text"  # opened again


def test_a_tar_of_before_there_was_a_magic_number(tmp_path):
    path = write_tar(tmp_path / "a", [member("a.png", b"old")], format=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    for header in (0, 512):
        data[header + 257 : header + 512] = bytes(255)
        data[header + 148 : header + 156] = b" " * 8
        data[header + 148 : header + 156] = b"%06o\0 " % sum(data[header : header + 512])
    path.write_bytes(data)
    assert open_files(path).names() == ["a.png"] and open_files(path).read("a.png", 3) == b"old"


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_in_another_process_reads_without_looking_through_again(kind, tmp_path, monkeypatch):
    files = open_files(write_any(kind, tmp_path, CONTENT))
    files.names()
    files.read("readme", 4)
    copy = sent(files)
    for name in ("TarFiles", "CompressedTarFiles"):
        monkeypatch.setattr(getattr(tar_files, name), "_members", None)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert copy.read("data/proc_00000/color/00001_first.png", 3000) == CONTENT["data/proc_00000/color/00001_first.png"]
    assert copy.read("data/proc_00000/annotations.csv", 2000) == CONTENT["data/proc_00000/annotations.csv"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_than_the_limit_is_read(kind, tmp_path):
    files = open_files(write_any(kind, tmp_path, CONTENT))
    assert len(files.read("data/proc_00000/annotations.csv", 1600)) == 1600
    with pytest.raises(ArchiveError, match="annotations.csv.* 1599"):
        files.read("data/proc_00000/annotations.csv", 1599)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_members_beyond_the_limit_refuse_the_archive(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 2999)
    with pytest.raises(ArchiveError, match="00001_first.png' of 3000 bytes"):
        open_files(write_any(kind, tmp_path, CONTENT)).names()
    monkeypatch.setattr(archives, "MOST_MEMBER_BYTES", 3000)
    monkeypatch.setattr(archives, "MOST_MEMBERS", 4)
    with pytest.raises(ArchiveError, match="more than 4 members"):
        open_files(write_any(kind, tmp_path, CONTENT)).names()


# Names


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("/etc/passwd.png", "absolute"),
        ("\\\\host\\share.png", "absolute"),
        ("C:\\windows\\a.png", "absolute"),
        ("../outside.png", "leaves"),
        ("a/../../outside.png", "leaves"),
        ("a/b/..", "leaves"),
        ("..\\outside.png", "leaves"),
    ],
)
def test_names_that_leave_the_folder_refuse_the_archive(kind, name, what, tmp_path):
    path = tmp_path / "a"
    if kind == "zip":
        write_zip(path, {"good.png": b"", name: b"x"})
    else:
        write_tar(path, [member("good.png"), member(name, b"x")], "w" if kind == "tar" else "w:gz")
    with pytest.raises(ArchiveError, match=what):
        open_files(path).names()


def test_a_zip_member_with_a_zero_byte_in_its_name_is_refused(tmp_path):
    path = write_zip(tmp_path / "a", {"good_evil.png": b"x"})
    path.write_bytes(path.read_bytes().replace(b"good_evil", b"good\0evil"))
    with pytest.raises(ArchiveError, match="good"):
        open_files(path).names()


@pytest.mark.parametrize("name", ["", ".", "./", ".//."])
def test_files_without_a_name_are_refused(name, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.addfile(tarfile.TarInfo(name))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        info = zipfile.ZipInfo("x")
        info.filename = name
        made.writestr(info, b"")
    for kind in ("tar", "zip"):
        if not (name.endswith("/") and kind == "zip"):  # that is a folder, the root itself
            with pytest.raises(ArchiveError, match="has a file without a name"):
                open_files(tmp_path / f"a.{kind}").names()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("second", ["a/b.png", "./a//b.png", "a\\b.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_refuse_the_archive(kind, second, tmp_path):
    path = tmp_path / "a"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a/b.png", b"1")
            file.writestr(second, b"2")
    else:
        write_tar(path, [member("a/b.png", b"1"), member(second, b"2")])
    with pytest.raises(ArchiveError, match="two members 'a/b.png'"):
        open_files(path).names()


# What is no file


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
        (b"Z", "a device"),
    ],
)
def test_tar_members_that_are_no_files_refuse_the_archive(mode, kind, what, tmp_path):
    path = write_tar(tmp_path / "a", [member("good.png"), member("bad.png", type=kind, linkname="good.png")], mode)
    with pytest.raises(ArchiveError, match=f"'bad.png' that is {what}"):
        open_files(path).names()


def test_sparse_tar_members_refuse_the_archive(tmp_path):
    info, _ = member("bad.png", type=tarfile.REGTYPE)
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.map": "0,5",
        "GNU.sparse.size": "9",
    }
    with pytest.raises(ArchiveError, match="'bad.png' that is .*sparse"):
        open_files(write_tar(tmp_path / "a", [(info, b"")])).names()


@pytest.mark.parametrize(
    ("mode", "what"), [(0o120777, "a link"), (0o010644, "a device or pipe"), (0o020644, "a device or pipe")]
)
def test_zip_members_that_are_no_files_refuse_the_archive(mode, what, tmp_path):
    info = zipfile.ZipInfo("a/bad.png")
    info.external_attr = mode << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr(info, "../../etc/passwd")
    with pytest.raises(ArchiveError, match=f"'a/bad.png' that is {what}"):
        open_files(tmp_path / "a").names()


def test_links_of_a_folder_are_followed_inside_it_only(tmp_path):
    root = write_folder(tmp_path / "root", CONTENT)
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "inside").symlink_to(root / "readme")
    assert open_files(root).read("inside", 4) == b"text" and "inside" in open_files(root).names()
    by_link = tmp_path / "by_link"
    by_link.symlink_to(root)
    assert open_files(by_link).names() == open_files(root).names()  # the folder itself may be given by a link
    for target, what in (
        (tmp_path / "secret", "leaves"),
        (tmp_path, "leaves"),
        (Path("../secret"), "leaves"),
        (root / "data", "to a folder"),
        (root / "gone", "to nothing"),
    ):
        (root / "link").symlink_to(target)
        with pytest.raises(ArchiveError, match=f"link is a link .*{what}"):
            open_files(root).names()
        (root / "link").unlink()
    # Put there after the folder was looked through:
    files = open_files(root)
    files.names()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ArchiveError, match="leaves"):
        files.read("link/secret", 10)
    with pytest.raises(ArchiveError, match="leaves"):
        files.read("../secret", 10)


def test_pipes_in_a_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ArchiveError, match="pipe.png is neither a file nor a folder"):
        open_files(tmp_path).names()
    with pytest.raises(FileNotFoundError):
        open_files(tmp_path).read("pipe.png", 10)


# Zips that lie


def test_encrypted_zips_are_refused(tmp_path):
    path = write_zip(tmp_path / "a", {"secret.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # the flag that zipfile cannot write
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted .'secret.png'"):
        open_files(path).names()


def test_other_methods_than_deflate_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match="by method 12; repack"):
        open_files(write_zip(tmp_path / "a", CONTENT, zipfile.ZIP_BZIP2)).names()


@pytest.mark.parametrize("names", [["S\u00e4fe.png", "T\u00fcr.png"], ["\u6249.png"]])
def test_zip_names_in_utf_8_are_read_whether_marked_or_not(names, tmp_path):
    """Info-ZIP and macOS write UTF-8 without the mark that says so; others mean code page 437 then."""
    files = [open_files(write_zip(tmp_path / "a", dict.fromkeys(names, b"x")))]
    content = files[0].path.read_bytes()
    for name in names:
        for signature, flags, start in ((b"PK\1\2", 8, 46), (b"PK\3\4", 6, 30)):
            place = content.index(name.encode(), content.index(signature)) - start
            while content[place : place + 4] != signature:
                place = content.index(name.encode(), place + start + 1) - start
            content = content[: place + flags] + b"\0\0" + content[place + flags + 2 :]
    (tmp_path / "b").write_bytes(content)
    files.append(open_files(tmp_path / "b"))
    for file in files:
        assert file.names() == sorted(names) and [file.read(name, 1) for name in names] == [b"x"] * len(names)
    (tmp_path / "c").write_bytes(content.replace(names[0].encode(), b"\x81" * len(names[0].encode())))
    expected = "\u00fc" * len(names[0].encode())  # 0x81 of code page 437; no UTF-8 begins so
    assert open_files(tmp_path / "c").names() == sorted([expected, *names[1:]])


def test_overlapping_members_are_refused(tmp_path):
    """The bomb in which all members share one stretch of packed bytes."""
    path = write_zip(tmp_path / "a", {"first.png": bytes(10**5), "other.png": b"x" * 50})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        first = file.getinfo("first.png").header_offset
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4) + 4)
    struct.pack_into("<L", data, entry + 42, first)  # other.png's header is where first.png's is
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="overlapping members"):
        open_files(path).names()


@pytest.mark.parametrize(("field", "value"), [(24, 10), (24, 10**7), (16, 12345)])
def test_wrong_sizes_and_checksums_are_found_when_read(field, value, tmp_path):
    path = write_zip(tmp_path / "a", {"a.png": bytes(10**5)})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + field, value)  # 24: real size, 16: CRC-32, as the directory declares them
    path.write_bytes(data)
    files = open_files(path)
    assert files.names() == ["a.png"]
    with pytest.raises(ArchiveError, match="'a.png'.*(declares|checksum)"):
        files.read("a.png", 10**8)


def test_a_deflate_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """A member that declares 10 bytes and unpacks to 200 MB costs no 200 MB."""
    import tracemalloc

    path = write_zip(tmp_path / "a", {"a.png": bytes(2 * 10**8)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\x01\x02") + 24, 10)
    path.write_bytes(data)
    files = open_files(path)
    files.names()
    tracemalloc.start()
    with pytest.raises(ArchiveError):
        files.read("a.png", 10**9)
    assert tracemalloc.get_traced_memory()[1] < 5 * 10**6
    tracemalloc.stop()


# Damage


@pytest.mark.parametrize("kind", KINDS[1:])
def test_archives_that_are_cut_short_are_refused(kind, tmp_path):
    path = write_any(kind, tmp_path, CONTENT)
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) if kind in ("tar", "tar gnu") else len(whole)  # a tar is padded with zeros
    for cut in (600, end // 2, end - 15):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArchiveError, match="cut short"):
            open_files(path).names()


def test_a_tar_cut_between_two_members_is_refused(tmp_path):
    path = write_tar(tmp_path / "a", [member("a.png", bytes(512)), member("b.png", bytes(512))])
    path.write_bytes(path.read_bytes()[: 512 + 1024])  # the folder and the first member
    with pytest.raises(ArchiveError, match="cut short .*blocks that end"):
        open_files(path).names()


def test_a_huge_header_is_not_read_into_memory(tmp_path):
    info, _ = member("x", type=tarfile.XHDTYPE)
    info.size = 2**40
    path = tmp_path / "a"
    path.write_bytes(info.tobuf() + bytes(2048))
    with pytest.raises(ArchiveError, match="damaged"):
        open_files(path).names()


def test_headers_without_end_are_refused(tmp_path):
    info, _ = member("x", type=tarfile.GNUTYPE_LONGNAME)
    info.size = 4
    path = tmp_path / "a"
    path.write_bytes((info.tobuf() + b"name" + bytes(508)) * 5000 + bytes(1024))
    with pytest.raises(ArchiveError, match="without end|damaged"):
        open_files(path).names()


def test_a_changed_archive_is_not_read_on(tmp_path):
    path = write_zip(tmp_path / "a", CONTENT)
    files = open_files(path)
    files.names()
    files.close()
    write_zip(path, CONTENT | {"more": b"more"})
    with pytest.raises(ArchiveError, match="changed"):
        files.read("readme", 4)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "neither a zip"),
        (b"plain text", "neither a zip"),
        (b"7z\xbc\xaf\x27\x1c", "neither a zip"),
        (b"PK", "damaged or cut short"),
    ],
)
def test_other_files_are_refused(content, what, tmp_path):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match=what):
        open_files(tmp_path / "a.zip").names()
    with pytest.raises(ArchiveError, match="does not exist"):
        open_files(tmp_path / "b.zip")


# Compressed tars


def bomb_of(kind: str) -> tuple[tarfile.TarInfo, bytes]:
    """A member of 4 MiB of zeros, or as many headers of folders."""
    return member("x.bin", bytes(2**22)) if kind == "file" else member("d", type=tarfile.DIRTYPE)


@pytest.mark.parametrize("kind", ["file", "folders"])
@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_a_compressed_tar_that_swells_is_not_unpacked(kind, module, tmp_path, monkeypatch):
    monkeypatch.setattr(tar_files, "FREE_BYTES", 2**20)
    monkeypatch.setattr(tar_files, "SWELLING", 20)
    info, data = bomb_of(kind)
    content = (info.tobuf() + data) * (1 if data else 2**12) + bytes(1024)
    path = tmp_path / "a.bin"
    path.write_bytes(module.compress(content))
    files = open_files(path)
    with pytest.raises(ArchiveError, match="unpacks to more than 1048576;"):
        files.names()
    assert files._file().tell() <= 2**20 + 2**20, "no more was decompressed than was allowed"
    monkeypatch.setattr(tar_files, "FREE_BYTES", 2**24)
    assert open_files(path).names() == (["x.bin"] if data else [])


@pytest.mark.parametrize(("kind", "module"), [("tar.gz", gzip), ("tar.bz2", bz2), ("tar.xz", lzma)])
def test_a_compressed_tar_is_read_forwards(kind, module, tmp_path, monkeypatch):
    """Listing takes one pass with its tables; units in the archive's order take one more, in any order asked."""
    content = {f"proc_{i:05d}/{j}.png": os.urandom(2000) for i in range(4) for j in range(3)}
    content |= {f"proc_{i:05d}/annotations.csv": f"table {i}".encode() for i in range(4)}
    files = open_files(write_any(kind, tmp_path, dict(sorted(content.items()))))
    assert isinstance(files, CompressedTarFiles) and files.cost
    assert "only be read from its beginning" in files.cost and ("again for every" in files.cost) == (kind != "tar.gz")
    files.names()
    worker = sent(files)
    handle, backwards = worker._file(), []

    class Watched:
        read, close = handle.read, handle.close

        def seek(self, place):
            backwards.append(place < handle.tell())
            handle.seek(place)

    worker._handle = Watched()
    for i in range(4):
        assert worker.read(f"proc_{i:05d}/annotations.csv", 100) == f"table {i}".encode()
        names = [f"proc_{i:05d}/{j}.png" for j in (2, 0, 1)]
        worker.prefetch([*names, "missing"], 2000)
        assert [worker.read(name, 2000) for name in names] == [content[name] for name in names]
    assert len(backwards) == 12 and not any(backwards)
    assert worker.read("proc_00000/0.png", 2000) == content["proc_00000/0.png"] and backwards[-1]


def test_tables_without_end_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_files, "HELD_BYTES", 1000)
    with pytest.raises(ArchiveError, match="tables of more than 1000 bytes"):
        open_files(write_any("tar.gz", tmp_path, CONTENT)).names()
