"""A private SLURM on one machine, for tests: munged, slurmctld and one slurmd for each node it pretends to have.

All of it lies in one temporary folder, runs as whoever starts it and listens on ports of its own on the loopback
device: nothing of the machine is configured, and several clusters may run side by side.
"""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

DAEMONS, CLIENTS = ("munged", "slurmctld", "slurmd"), ("sbatch", "scancel", "scontrol", "sinfo", "srun", "squeue")
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
SPARE = "spare"
"""Partition of the nodes that a test may set down without harm to another test's jobs."""

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# The life of a credential is also the time that a re-queued job is held back: 5 s is the least.
AuthInfo=socket={folder}/munge.s,cred_expire=5
# Lightning's port is made of the job's number: clusters side by side must not all begin at 1.
FirstJobId={first_job}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The nodes are believed to have the CPUs below, whatever the machine has.
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
JobRequeue=1
ReturnToService=2
KillWait=5
SlurmdTimeout=10
# Without accounting nothing else remembers a job that has ended.
MinJobAge=86400
{loopback}
{nodes}
PartitionName=main Nodes={main} Default=YES DefaultTime=10 MaxTime=INFINITE State=UP
PartitionName={spare} Nodes={all} DefaultTime=10 MaxTime=INFINITE State=UP
"""


def missing_commands() -> list[str]:
    """What has to be installed before a cluster can be started."""
    return [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=SEARCHED) is None]


class Cluster:
    """Its nodes are called 127.0.0.2, 127.0.0.3 …, which resolves everywhere: ranks meet at the first one's name."""

    def __init__(self) -> None:
        # A socket's path has 107 bytes: pytest's own temporary folders may be too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "BRATS"))
        }
        self.environment |= {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": SEARCHED}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self, *, nodes: int = 2, spare: int = 0, cpus: int = 2) -> None:
        """Start it and wait until it takes jobs.

        Args:
            nodes: Of the default partition.
            spare: Further nodes, of the partition `spare`.
            cpus: Of each node, as the scheduler counts them.
        """
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir()
        self._write_key()
        names = [f"127.0.0.{number + 2}" for number in range(nodes + spare)]
        self._write_configuration(names[:nodes], names[nodes:], cpus=cpus)
        munge = {"socket": "munge.s", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munge.seed"}
        munge["log-file"] = "log/munged.log"
        self._launch("munged", "--foreground", "--force", *[f"--{key}={self.folder / munge[key]}" for key in munge])
        until((self.folder / "munge.s").exists, 10, "munged has opened its socket")
        self._launch("slurmctld", "-D")
        for name in names:
            self._launch("slurmd", "-D", "-N", name)
        until(lambda: self._idle() == len(names), 20, "all nodes are idle", self.logs)

    def stop(self) -> None:
        """End its jobs and its daemons, and remove its folder."""
        if not self.folder.exists():
            return
        self._ask("scancel", "--state=PENDING", "--full", "--quiet", "--user", self._user(), check=False)
        self._ask("scancel", "--signal=KILL", "--full", "--quiet", "--user", self._user(), check=False)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._end_what_is_left()
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(
        self,
        script: Path | str,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        **options: str | int,
    ) -> str:
        """Hand in a batch script.

        Args:
            script: Its path.
            arguments: Of the script.
            folder: Working folder, where its output appears too.
            environment: Further variables.
            options: Of `sbatch`, such as `nodes=2`; one without a value is empty.

        Returns:
            Number of the job.
        """
        given = [
            f"--{name.replace('_', '-')}" + (f"={value}" if value != "" else "") for name, value in options.items()
        ]
        command = ["sbatch", "--parsable", *given, str(script), *arguments]
        return self._ask(*command, folder=folder, environment=environment).strip()

    def typed(self, line: str) -> str:
        """What a line says that somebody types into a shell."""
        return self._ask("bash", "-c", line).strip()

    def facts(self, job: str) -> dict[str, str]:
        """What `scontrol` knows of a job, or of an element `120_3` of an array."""
        words = self._ask("scontrol", "--oneliner", "show", "job", job).split()
        return {key: value for key, equals, value in (word.partition("=") for word in words) if equals}

    def state(self, job: str) -> str:
        """Such as PENDING or COMPLETED."""
        return self.facts(job)["JobState"]

    def restarts(self, job: str) -> int:
        """How often a job was re-queued and started again."""
        return int(self.facts(job)["Restarts"])

    def wait(self, job: str, seconds: float = 120) -> str:
        """Wait until a job has ended for good; its last state.

        Polled: `sbatch --wait` looks more and more rarely.
        """
        until(
            lambda: self.state(job) in ENDED, seconds, f"job {job} has ended", lambda: str(self.facts(job)), every=0.5
        )
        return self.state(job)

    def wait_running(self, job: str, seconds: float = 540) -> None:
        """Wait until a job runs, but not for the time that the controller holds back one that was re-queued."""

        def runs() -> bool:
            facts = self.facts(job)
            if facts["JobState"] == "PENDING" and facts["Reason"] == "BeginTime":
                self._ask("scontrol", "update", f"jobid={job}", "starttime=now")
            return facts["JobState"] == "RUNNING"

        until(runs, seconds, f"job {job} runs", lambda: str(self.facts(job)))

    def signal(self, job: str, name: str = "USR1") -> None:
        """Send a signal to all processes of a job's steps, as its `--signal` does before the time limit."""
        self._ask("scancel", f"--signal={name}", job)

    def tasks(self, job: str, *, listening: bool = False) -> dict[int, int]:
        """Process ids of the programs that `srun` has started for a job, by rank.

        Args:
            job: Its number.
            listening: Only those that have a handler for SIGUSR1 by now; the others would die of it.
        """
        number = self.facts(job)["JobId"]
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = dict(
                    word.split("=", 1) for word in (folder / "environ").read_text().split("\0") if "=" in word
                )
                status = (folder / "status").read_text()
            except (OSError, ValueError):  # not ours, or gone
                continue
            # The batch script has a rank too, but no step; the shell that a step begins as is none of the programs.
            ours = (
                variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                and variables.get("SLURM_JOB_ID") == number
            )
            if ours and "SLURM_STEP_NUM_TASKS" in variables and "Name:\tpython" in status:
                caught = int(status.split("SigCgt:")[1].split()[0], 16)
                if not listening or caught >> (signal.SIGUSR1 - 1) & 1:
                    found[int(variables["SLURM_PROCID"])] = int(folder.name)
        return found

    def named(self, name: str) -> list[str]:
        """Numbers of the jobs of a name."""
        lines = self._ask("scontrol", "--oneliner", "show", "job").splitlines()
        return [line.split()[0].removeprefix("JobId=") for line in lines if f" JobName={name} " in line]

    def nodes_of(self, job: str) -> list[str]:
        """Names of the nodes that a job has."""
        return self._ask("scontrol", "show", "hostnames", self.facts(job)["NodeList"]).split()

    def node_down(self, name: str) -> None:
        """Let a node fail: its jobs are re-queued at once. It comes back by itself."""
        self._ask("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    def logs(self) -> str:
        """The last words of every daemon."""
        return "\n".join(f"{path.name}: {path.read_text()[-600:]}" for path in (self.folder / "log").iterdir())

    def _write_key(self) -> None:
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))

    def _write_configuration(self, main: list[str], spare: list[str], *, cpus: int) -> None:
        host = socket.gethostname().partition(".")[0]
        port, *ports = _free_ports(1 + len(main) + len(spare))
        nodes = [
            f"NodeName={name} NodeAddr=127.0.0.1 NodeHostname={host} Port={own} CPUs={cpus} RealMemory=1000000"
            for name, own in zip([*main, *spare], ports, strict=True)
        ]
        # The daemons listen on what the host's name resolves to, which is of no use where that is not loopback.
        loopback = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" if _is_loopback(host) else ""
        text = CONFIGURATION.format(
            host=host,
            port=port,
            user=self._user(),
            folder=self.folder,
            first_job=random.randrange(1000, 9000),
            loopback=loopback,
            nodes="\n".join(nodes),
            main=",".join(main),
            spare=SPARE,
            all=",".join(spare or main),
        )
        (self.folder / "slurm.conf").write_text(text)

    def _launch(self, *command: str) -> None:
        # Not the caller's variables, which every job would inherit.
        variables = {name: self.environment[name] for name in ("PATH", "SLURM_CONF")} | {"LANG": "C.UTF-8"}
        with (self.folder / "log" / "start.log").open("ab") as log:
            daemon = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._daemons.append(daemon)

    def _idle(self) -> int:
        return self._ask("sinfo", "--noheader", "--Node", "--format=%N %T", check=False).count(" idle")

    def _user(self) -> str:
        return pwd.getpwuid(os.geteuid()).pw_name

    def _end_what_is_left(self) -> None:
        """Job steps outlive their slurmd: end everything that this cluster has started."""
        own = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if own in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except OSError:  # not ours, or gone
                continue

    def _ask(
        self,
        *command: str,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> str:
        variables = self.environment | dict(environment or {})
        answer = subprocess.run(
            command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert not (check and answer.returncode), f"{' '.join(command)}: {answer.stderr}"
        return answer.stdout


def until(
    holds: Callable[[], bool], seconds: float, what: str, explain: Callable[[], str] = str, *, every: float = 0.2
) -> None:
    """Wait for something; the test fails where it takes too long.

    Args:
        holds: Looks whether it has come.
        seconds: Patience.
        what: It is, in words.
        explain: More words where it has not.
        every: Seconds between two looks.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s until {what}: {explain()}")
        time.sleep(every)


def _free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to clients, above those that Lightning makes of job numbers."""
    taken: list[socket.socket] = []
    for port in random.SystemRandom().sample(range(25_000, 32_768), 2000):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        taken.append(listener)
        if len(taken) == count:
            break
    ports = [int(listener.getsockname()[1]) for listener in taken]
    for listener in taken:
        listener.close()
    return ports


def _is_loopback(host: str) -> bool:
    try:
        return socket.gethostbyname(host).startswith("127.")
    except OSError:
        return False
