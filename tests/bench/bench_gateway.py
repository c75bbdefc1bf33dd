"""What the benchmarks share: a gateway on loopback with a data directory of its own, the tools against it,
and the kernel's account of what it took. Standard library only.
"""
import json
import os
import signal
import subprocess
import tempfile

TICKS = os.sysconf("SC_CLK_TCK")


class Gateway:
    """A paquebotd that has begun to serve. `bin` is the build directory."""

    def __init__(self, bin_, security, *options, directory=None, preexec_fn=None):
        self.bin = bin_
        self.directory = tempfile.TemporaryDirectory(dir=directory)
        self.data = os.path.join(self.directory.name, "data")
        self.process = subprocess.Popen(
            [os.path.join(bin_, "gateway/paquebotd"), "--security", security, "--auth", "any", "--data",
             self.data, "--listen", "127.0.0.1:0", *map(str, options)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=preexec_fn)
        ready = dict(word.split("=", 1) for word in self.process.stdout.readline().split() if "=" in word)
        self.target = ready["listen"]
        self.key_options = ["--server-key", ready["server-key"]] if "server-key" in ready else []

    def start_sim(self, verb, *args, **kwargs):
        """`pqbsim VERB ARGS` against the gateway, in the background."""
        return subprocess.Popen([os.path.join(self.bin, "tools/pqbsim"), verb, *map(str, args),
                                 "--target", self.target, *self.key_options], **kwargs)

    def sim(self, verb, *args):
        """The report of such a run."""
        done = self.start_sim(verb, *args, "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.communicate()[0])

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
