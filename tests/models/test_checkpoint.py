import errno
import fcntl
import json
import os
import pickle
import signal
import stat
from contextlib import nullcontext

import pytest
import torch

from irrepnet.errors import CheckpointError
from irrepnet.models import checkpoint as module
from irrepnet.models import load_tensors, save_tensors, write_atomic

OLD = {"x": torch.arange(4.0), "n": torch.tensor(3)}
NEW = {"x": torch.arange(4.0) + 10, "n": torch.tensor(4)}


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "last.state"
    save_tensors(path, OLD, {"step": 1})
    return path


class TestRoundTrip:
    def test_every_dtype_and_layout_comes_back_bit_for_bit(self, tmp_path):
        base = torch.randn(4, 6)
        tensors = {
            "shares memory": base,
            "is a view": base.t()[1:],
            "scalar": torch.tensor(-0.0),
            "empty": torch.empty(0, 3),
            "nan": torch.tensor([float("nan"), float("inf")], dtype=torch.float64),
            "bytes": torch.arange(256, dtype=torch.uint8),
            "bool": torch.tensor([True, False]),
            "low": torch.randn(3).bfloat16(),
            "needs gradient": torch.nn.Parameter(torch.randn(2)),
        }
        metadata = {"lr": 0.1 + 0.2, "infinite": float("inf"), "text": "Å", "nested": [1, {"a": None}]}
        save_tensors(tmp_path / "a", tensors, metadata)
        found, facts = load_tensors(tmp_path / "a")
        assert facts == metadata
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
            found_bytes, wanted_bytes = (
                t.detach().contiguous().flatten().view(torch.uint8) for t in (found[name], tensor)
            )
            assert torch.equal(found_bytes, wanted_bytes)

    def test_same_content_is_the_same_file(self, tmp_path, file):
        save_tensors(tmp_path / "again", OLD, {"step": 1})
        assert (tmp_path / "again").read_bytes() == file.read_bytes()

    def test_other_programs_can_read_it(self, file):
        from safetensors.torch import load_file

        assert same(load_file(file), OLD)

    def test_every_length_of_the_header(self, tmp_path):
        first_bytes = set()
        for length in range(0, 264, 4):  # safetensors pads to 8
            save_tensors(tmp_path / "a", OLD, {"note": "x" * length})
            assert load_tensors(tmp_path / "a")[1] == {"note": "x" * length}
            first_bytes.add((tmp_path / "a").read_bytes()[0])
        assert 0x80 in first_bytes  # as a pickle begins

    def test_metadata_that_is_not_json(self, tmp_path, file):
        with pytest.raises(CheckpointError, match=r"metadata must be what JSON can hold; .*Tensor.*; convert it"):
            save_tensors(file, OLD, {"x": torch.ones(1)})
        assert load_tensors(file)[1] == {"step": 1}


class TestDamage:
    def test_any_flipped_bit_is_found(self, file):
        good = file.read_bytes()
        for position in range(len(good)):
            for bit in range(8):
                bad = bytearray(good)
                bad[position] ^= 1 << bit
                with pytest.raises(CheckpointError):
                    module._checked_record(file, bytes(bad))

    def test_any_truncation_is_found(self, file):
        good = file.read_bytes()
        for length in range(len(good)):
            with pytest.raises(CheckpointError):
                module._checked_record(file, good[:length])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (lambda good: b"", r"is empty \(0 bytes\); a file written by irrepnet is needed; copy it again"),
            (lambda good: good[:40], "is not a file written by irrepnet: its header is cut short; copy it again"),
            (lambda good: good[:-3], r"is damaged: it needs \d+ bytes; found \d+; copy it again"),
            (lambda good: good + b"\0", r"is damaged: it needs \d+ bytes; found \d+"),
            (lambda good: good[:-1] + b"\xff", "is damaged: its SHA-256 is not the one it was written with"),
            (lambda good: b"model:\n  cutoff: 4.0\n" * 9, "is not a file written by irrepnet"),
            (lambda good: (10**5).to_bytes(8, "little") + b"[" * 10**5, "is not a file written by irrepnet"),
        ],
    )
    def test_messages(self, file, content, message):
        file.write_bytes(content(file.read_bytes()))
        with pytest.raises(CheckpointError, match=message):
            load_tensors(file)

    def test_safetensors_of_others(self, file):
        from safetensors.torch import save_file

        save_file(OLD, file, {"format": "pt"})
        with pytest.raises(
            CheckpointError, match="not a file written by irrepnet: its header is another one or damaged"
        ):
            load_tensors(file)

    def test_right_checksum_of_nonsense_tensors(self, file):
        good = file.read_bytes()
        broken = good.replace(b"F32", b"F99")
        record = json.loads(json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]["irrepnet"])
        blank = broken.replace(record["sha256"].encode(), b"0" * 64)
        file.write_bytes(blank.replace(b"0" * 64, module.hashlib.sha256(blank).hexdigest().encode()))
        with pytest.raises(CheckpointError, match=r"holds tensors that safetensors cannot read: .*F99"):
            load_tensors(file)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_pickle_is_never_opened(self, file, tmp_path, zipped):
        class Trap:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path / 'owned'}",)

        if zipped:
            torch.save(Trap(), file)
        else:
            file.write_bytes(pickle.dumps(Trap()))
        with pytest.raises(CheckpointError, match=r"looks like a pickle .*never unpickles.*save_model"):
            load_tensors(file)
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("version", [float("inf"), float("nan"), 1.9, True, None, [2]])
    def test_format_that_is_no_whole_number(self, file, monkeypatch, version):
        monkeypatch.setattr(module, "FORMAT_VERSION", version)
        save_tensors(file, NEW, {})
        monkeypatch.undo()
        with pytest.raises(CheckpointError, match="its header is another one or damaged; copy it again"):
            load_tensors(file)

    def test_newer_format(self, file, monkeypatch):
        newest = module.FORMAT_VERSION
        monkeypatch.setattr(module, "FORMAT_VERSION", newest + 1)
        save_tensors(file, NEW, {})
        monkeypatch.undo()
        message = rf"file format {newest + 1}, written by irrepnet .* up to {newest}; update irrepnet"
        with pytest.raises(CheckpointError, match=message):
            load_tensors(file)

    def test_folder_and_missing_file(self, tmp_path):
        with pytest.raises(CheckpointError, match="is a folder; name a file in it"):
            load_tensors(tmp_path)
        (tmp_path / "best.model").touch()
        with pytest.raises(CheckpointError, match=r"is a folder; did you mean .*best\.model\?"):
            load_tensors(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"there is no .*other.model; check the path"):
            load_tensors(tmp_path / "other.model")


class Calls:
    """Count the system calls of a write, and die by SIGKILL before, in the middle of or after a chosen one."""

    def __init__(self, fatal=None, moment=None):
        self.names, self.fatal, self.moment = [], fatal, moment
        self.real = {name: getattr(os, name) for name in ("write", "fsync", "replace")}
        for name in self.real:
            setattr(os, name, lambda *args, name=name: self.call(name, *args))

    def call(self, name, *args):
        self.names.append(name)
        now = len(self.names) - 1 == self.fatal
        if now and self.moment == "middle" and name == "write":
            self.real[name](args[0], bytes(args[1])[: len(args[1]) // 2])
        result = None if now and self.moment != "after" else self.real[name](*args)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def undo(self):
        for name, function in self.real.items():
            setattr(os, name, function)


class TestKill:
    """A process that dies by SIGKILL at any call of a save leaves a file that loads."""

    def test_calls_of_a_save(self, file):
        calls = Calls()
        save_tensors(file, NEW, {})
        calls.undo()
        assert calls.names == ["write", "fsync", "replace", "fsync"]

    @pytest.mark.parametrize("moment", ["before", "middle", "after"])
    @pytest.mark.parametrize("fatal", range(4))
    def test_kill(self, file, fatal, moment):
        child = os.fork()
        if child == 0:
            Calls(fatal, moment)
            try:
                save_tensors(file, NEW, {"step": 2})
            finally:
                os._exit(0)  # a child that lives on would go on with the tests
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == signal.SIGKILL

        replaced = fatal > 2 or (fatal == 2 and moment == "after")
        found, metadata = load_tensors(file)
        assert same(found, NEW if replaced else OLD)
        assert metadata == {"step": 2 if replaced else 1}
        assert len(os.listdir(file.parent)) == (1 if replaced else 2)

        save_tensors(file, NEW, {"step": 3})
        assert os.listdir(file.parent) == [file.name]
        assert load_tensors(file)[1] == {"step": 3}


class TestWriteAtomic:
    def test_failure_keeps_the_old_file_and_no_other(self, file, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save_tensors(file, NEW, {})
        assert same(load_tensors(file)[0], OLD)
        assert os.listdir(file.parent) == [file.name]

    def test_partial_writes_are_continued(self, tmp_path, monkeypatch):
        real = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
        write_atomic(tmp_path / "a", b"0123456789")
        assert (tmp_path / "a").read_bytes() == b"0123456789"

    def test_a_writer_at_work_is_left_alone(self, tmp_path, monkeypatch):
        real = os.replace

        def write_again_inside(source, target):
            monkeypatch.setattr(os, "replace", real)
            write_atomic(tmp_path / "a", b"second")
            real(source, target)

        monkeypatch.setattr(os, "replace", write_again_inside)
        write_atomic(tmp_path / "a", b"first")
        assert (tmp_path / "a").read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["a"]

    def test_mode_is_that_of_any_file(self, tmp_path):
        (tmp_path / "plain").write_bytes(b"")
        write_atomic(tmp_path / "a", b"")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)

    @pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o440])
    def test_mode_of_an_old_file_is_kept(self, tmp_path, mode):
        (tmp_path / "a").write_bytes(b"old")
        (tmp_path / "a").chmod(mode)
        write_atomic(tmp_path / "a", b"new")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
        assert (tmp_path / "a").read_bytes() == b"new"

    @pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
    def test_what_is_no_file_is_left_alone(self, tmp_path, make):
        make(tmp_path / "a")
        before = (tmp_path / "a").stat()
        (tmp_path / "link").symlink_to(tmp_path / "a")
        for name in ("a", "link"):
            with pytest.raises(CheckpointError, match=r"by replacing it; .*a is no regular file; give another name"):
                write_atomic(tmp_path / name, b"x")
        assert (tmp_path / "a").stat() == before

    def test_a_mount_without_locks(self, tmp_path, monkeypatch):
        leftover = tmp_path / ".a.0123abcd.tmp"
        leftover.touch()

        def no_lock(*args):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(fcntl, "flock", no_lock)
        write_atomic(tmp_path / "a", b"x")
        assert (tmp_path / "a").read_bytes() == b"x"
        assert leftover.exists()  # its writer may be at work

    @pytest.mark.parametrize(("code", "harmless"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
    def test_a_mount_without_fsync_of_folders(self, tmp_path, monkeypatch, code, harmless):
        real = os.fsync

        def fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(code, "of the folder")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        with nullcontext() if harmless else pytest.raises(OSError, match="of the folder"):
            write_atomic(tmp_path / "a", b"x")
        assert (tmp_path / "a").read_bytes() == b"x"

    def test_symbolic_link_is_followed(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "real")
        write_atomic(tmp_path / "link", b"x")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == b"x"

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"to write a.model its folder must exist; .*gone; create it"):
            write_atomic(tmp_path / "gone" / "a.model", b"")
