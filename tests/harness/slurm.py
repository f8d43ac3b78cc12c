"""A Slurm cluster on this machine: a controller and several nodes, each a slurmd of its own, as they are in bookworm."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from harness.processes import packaged, run, wait_for
from harness.report import require

SLURMCTLD, SLURMD = packaged("slurmctld"), packaged("slurmd")
SBATCH, SQUEUE, SINFO = packaged("sbatch"), packaged("squeue"), packaged("sinfo")
CONFIGURATION = """\
ClusterName=imgforge-test
SlurmctldHost=localhost
SlurmctldPort={controller}
AuthType=auth/none
AuthInfo=cred_expire=5
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={directory}/prolog
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/%n.log
SlurmdTimeout=6
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def is_installed():
    return all(shutil.which(program) for program in (SLURMCTLD, SLURMD, SBATCH))


class Cluster:
    """Nodes `n1`, `n2`…; what runs on one has the store of that node, `store-n1`, as its own."""

    def __init__(self, directory, nodes):
        self.directory = directory
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.processes = {}

    def __enter__(self):
        (self.directory / "state").mkdir(parents=True)
        controller, *ports = free_ports(1 + len(self.nodes))
        lines = [
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=1\n"
            for name, port in zip(self.nodes, ports, strict=True)
        ]
        file = self.directory / "slurm.conf"
        file.write_text(CONFIGURATION.format(controller=controller, directory=self.directory) + "".join(lines))
        prolog = self.directory / "prolog"
        prolog.write_text(f'#!/bin/sh\necho "export IMGFORGE_CACHE_DIR={self.directory}/store-$SLURMD_NODENAME"\n')
        prolog.chmod(0o755)
        self.environment = os.environ | {"SLURM_CONF": str(file)}
        try:
            self.start("slurmctld", SLURMCTLD, "-D", "-f", file)
            for name in self.nodes:
                self.start(name, SLURMD, "-D", "-N", name, "-f", file)
            wait_for(self.check_idle, self.processes["slurmctld"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [*self.nodes, "slurmctld"]:
            self.end(name)

    def start(self, name, *command):
        with (self.directory / f"{name}.out").open("w") as log:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=self.environment
            )

    def end(self, name):
        """Ends a daemon as a loss of power would, on a node with all that it started: nothing tells the controller."""
        if process := self.processes.pop(name, None):
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        started = self.started_on(name)
        stewards = {parent for parent in map(parent_of, started) if name_of(parent) == "slurmstepd"}
        for number in [*stewards, *started]:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def started_on(self, node):
        """The processes of jobs on a node of this cluster, by their environment."""
        own = {f"SLURMD_NODENAME={node}", f"IMGFORGE_CACHE_DIR={self.store(node)}"}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                variables = set((process / "environ").read_text(errors="replace").split("\0"))
            except OSError:
                continue
            if own <= variables:
                found.append(int(process.name))
        return found

    def store(self, node):
        return self.directory / f"store-{node}"

    def check_idle(self):
        states = run(SINFO, "--noheader", "--Node", "--format=%N %T", env=self.environment).split()[1::2]
        require(states == ["idle"] * len(self.nodes), f"the nodes are {states}")

    def tasks(self):
        """The tasks that are in the queue: job, name, node and state of each."""
        lines = run(SQUEUE, "--noheader", "--array", "--format=%A|%j|%N|%T", env=self.environment).splitlines()
        return [line.strip().split("|") for line in lines]


def status_of(number):
    """The lines of /proc/N/status as a dictionary; nothing of a process that is gone."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def parent_of(number):
    return int(status_of(number).get("PPid", 0))


def name_of(number):
    return status_of(number).get("Name", "")


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
