"""Ctrl-C while the engine works."""

import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from voxelcast import RidgeCV


@pytest.fixture
def interrupts():
    """Ctrl-C means KeyboardInterrupt, also where a shell has started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_ends_a_fit_with_keyboard_interrupt(interrupts):
    """The signal comes from within the first call, so it is there whenever the engine looks."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((300, 20)), rng.standard_normal((300, 40_000)).astype(np.float32)
    heard = []

    def interrupt(done, total):
        heard.append(done)
        if len(heard) == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        RidgeCV([1.0, 10.0], progress=interrupt, n_threads=1).fit(X, Y)
    assert heard == [0], "nothing is heard of a fit that was ended"
    # The module works on.
    RidgeCV([1.0, 10.0]).fit(X, Y[:, :3])


def test_ctrl_c_reaches_a_fit_from_outside(tmp_path):
    """A process of its own, sent SIGINT once it has said that its fit has begun. Whatever the load,
    the fit cannot end by itself: its progress function waits until the signal has come."""
    program = textwrap.dedent(
        """
        import signal, sys, threading
        import numpy as np
        from voxelcast import RidgeCV
        came = threading.Event()
        default = signal.default_int_handler
        def handler(number, frame):
            came.set()
            default(number, frame)
        signal.signal(signal.SIGINT, handler)
        rng = np.random.default_rng(0)
        X, Y = rng.standard_normal((100, 5)), rng.standard_normal((100, 20))
        def wait(done, total):
            print("begun", flush=True)
            while not came.is_set():
                came.wait(0.05)
        try:
            RidgeCV([1.0, 10.0], progress=wait).fit(X, Y)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    # Elsewhere: where the tests are, a folder is called as the module is.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    process = subprocess.Popen([sys.executable, "-c", program], **pipes)
    watch = threading.Timer(120, process.kill)
    watch.start()
    try:
        assert process.stdout.readline() == "begun\n", process.stderr.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        watch.cancel()
        process.kill()
    assert (out, process.returncode) == ("interrupted\n", 0), err


def test_other_threads_run_while_a_fit_does():
    """The interpreter is free: another thread counts on while the engine works."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((400, 60)), rng.standard_normal((400, 20_000)).astype(np.float32)
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1

    seen = []
    thread = threading.Thread(target=count)
    thread.start()
    try:
        RidgeCV(progress=lambda done, total: seen.append(counts[0])).fit(X, Y)
    finally:
        stop.set()
        thread.join()
    assert seen[-1] > seen[0]


def test_a_forked_process_can_fit(tmp_path):
    """Threads do not survive a fork: a fit has threads of its own."""
    program = textwrap.dedent(
        """
        import os
        import numpy as np
        from voxelcast import RidgeCV
        rng = np.random.default_rng(0)
        X, Y = rng.standard_normal((100, 5)), rng.standard_normal((100, 20))
        model = RidgeCV([1.0, 10.0]).fit(X, Y)
        child = os.fork()
        if child == 0:
            again = RidgeCV([1.0, 10.0]).fit(X, Y)
            os._exit(0 if np.array_equal(again.coef_, model.coef_) else 3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    line = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
