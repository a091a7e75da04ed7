"""Compares what supervisord's own parser reads of a configuration with what an import has made of it.

Arguments: the supervisord.conf, and our TOML. Prints a line for each difference, and at the end how many
processes were compared. The names in ours are expected where the documentation says they are.
"""

import os
import pwd
import re
import shlex
import signal
import sys
import tomllib

from supervisor import datatypes, options

# Directories of logs need not exist where this runs.
options.existing_directory = options.existing_dirpath = os.path.expanduser
datatypes.existing_dirpath = os.path.expanduser


class Recorder(options.ServerOptions):
    """Keeps which section each process came of, and its group's priority."""

    def __init__(self):
        super().__init__()
        self.sections = []

    def processes_from_section(self, parser, section, group_name, klass=None):
        processes = super().processes_from_section(parser, section, group_name, klass)
        start = int(parser.saneget(section, "numprocs_start", "0"))
        padded = re.search(r"%\(process_num\)(?!0?[1-9]?d|s)", str(dict(parser.items(section))))
        self.sections.append((section, group_name, start, bool(padded), processes))
        return processes


def parsed(path):
    recorder = Recorder()
    recorder.realize(["-c", path], doc="", progname="supervisord")
    priorities = {group.name: group.priority for group in recorder.process_group_configs}
    return recorder, priorities


class Ours:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.config = tomllib.load(file)

    def process(self, name, instance):
        table = self.config.get("programs", {}).get(name)
        if table is None:
            return None
        defaults = self.config.get("defaults", {})
        merged = defaults | table
        merged["env"] = defaults.get("env", {}) | table.get("env", {})
        return expanded(merged, instance)


def expanded(value, instance):
    """The values with `${...}` filled in, as taskmaster.toml(5) says."""

    def name(match):
        inner = match.group(1)
        if inner is None:
            return "$"
        if inner == "host":
            return os.uname().nodename
        if inner.startswith("env:"):
            return os.environ[inner[4:]]
        width = int(inner.partition(":")[2] or 0)
        return f"{instance:0{width}d}"

    if isinstance(value, str):
        return re.sub(r"\$\$|\$\{([^}]*)\}", name, value)
    if isinstance(value, list):
        return [expanded(one, instance) for one in value]
    if isinstance(value, dict):
        return {key: expanded(one, instance) for key, one in value.items()}
    return value


def user_id(user):
    return user if isinstance(user, int) else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid


def size(value):
    units = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
    return value if isinstance(value, int) else int(value[:-2]) * units[value[-2:]]


def target(logfile, syslog, uid, base):
    """Where an output goes in ours; both to a file and to syslog it cannot."""
    if syslog and logfile in (None, datatypes.Automatic):
        return "syslog"
    if logfile is None:
        return "discard"
    if logfile is datatypes.Automatic:
        return "auto"
    path = re.sub("^//", "/", os.path.normpath(os.path.join(base, logfile)))
    if path == "/dev/null":
        return "discard"
    if re.fullmatch("/dev/std(out|err)|(/dev|/proc/self)/fd/[12]", path):
        return "console"
    common = ("/tmp/", "/var/tmp/")
    if path.startswith(("/dev/", "/proc/")) or (uid == 0 and path.startswith(common)):
        return "auto"
    return path


RESTART = {
    False: "never",
    datatypes.RestartUnconditionally: "always",
    datatypes.RestartWhenExitUnexpected: "unexpected",
}


def theirs(recorder, process, priority):
    """A process's configuration, in our words."""
    section = recorder.configroot.supervisord
    own = pwd.getpwnam(section.user).pw_uid if section.user and not section.user.isdigit() else int(section.user or 0)
    uid = own if process.uid is None else process.uid
    daemon = not section.nodaemon
    base = (section.directory if daemon else None) or recorder.here
    words = shlex.split(process.command)
    if "/" in words[0] and not words[0].startswith("/"):
        start = process.directory if (process.directory or "").startswith("/") else base
        words[0] = os.path.normpath(os.path.join(start, words[0]))
    out = target(process.stdout_logfile, process.stdout_syslog, uid, base)
    err = target(process.stderr_logfile, process.stderr_syslog, uid, base)
    err = "stdout" if process.redirect_stderr else err
    no_file = ("discard", "console", "syslog", "stdout")
    logs = [stream for stream, to in (("stdout", out), ("stderr", err)) if to not in no_file]
    directory = process.directory or (section.directory if daemon else None)
    return {
        "cmd": words,
        "user": uid,
        "workingdir": os.path.normpath(os.path.join(base, directory)) if directory else None,
        "umask": process.umask if process.umask is not None else section.umask if daemon else 0o022,
        "env": process.environment,
        "priority": priority,
        "autostart": process.autostart,
        "autorestart": RESTART[process.autorestart],
        "exitcodes": sorted(set(process.exitcodes)),
        "starttime": process.startsecs,
        "startretries": process.startretries,
        "stopsignal": process.stopsignal,
        "stoptime": process.stopwaitsecs,
        "kill_mode": "group" if process.killasgroup else "process",
        "stdout": out,
        "stderr": err,
        "log_maxbytes": getattr(process, f"{logs[0]}_logfile_maxbytes") if logs else 50 << 20,
        "log_backups": getattr(process, f"{logs[0]}_logfile_backups") if logs else 10,
        "strip_ansi": section.strip_ansi,
    }


def signal_number(name):
    if isinstance(name, int):
        return name
    base, _, offset = name.partition("+")
    return getattr(signal, f"SIG{base}") + int(offset or 0)


def ours(table):
    get = table.get
    cmd = get("cmd")
    directory = get("workingdir")
    return {
        # Expansion comes after splitting: what was filled in here already cannot make two words of one,
        # except where a value has spaces, which an import fills in itself.
        "cmd": shlex.split(cmd) if isinstance(cmd, str) else cmd,
        "user": user_id(get("user")),
        "workingdir": os.path.normpath(directory) if directory else None,
        "umask": int(get("umask", "022"), 8),
        "env": get("env"),
        "priority": get("priority", 999),
        "autostart": get("autostart", True),
        "autorestart": get("autorestart", "unexpected"),
        "exitcodes": sorted(set(get("exitcodes", [0]))),
        "starttime": get("starttime", 1),
        "startretries": get("startretries", 3),
        "stopsignal": signal_number(get("stopsignal", "TERM")),
        "stoptime": get("stoptime", 10),
        "kill_mode": get("kill_mode", "tree"),
        "stdout": get("stdout", "auto"),
        "stderr": get("stderr", "auto"),
        "log_maxbytes": size(get("log_maxbytes", 50 << 20)),
        "log_backups": get("log_backups", 10),
        "strip_ansi": get("strip_ansi", False),
    }


def sanitised(name):
    name = re.sub(r"[^\w.-]", "_", name)
    if not re.match(r"[^\W_]", name) or name == "all":
        name = "p-" + name
    return name[:64]


def main(conf, toml):
    recorder, priorities = parsed(conf)
    mine = Ours(toml)
    expected, compared = set(), 0
    for section, group, start, padded, processes in recorder.sections:
        kind, _, program = section.partition(":")
        if kind != "program":
            continue
        apart = len(processes) > 1 and (start != 0 or padded)
        in_group = group != program or f"group:{group}" in GROUPS
        for number, process in enumerate(processes):
            name = sanitised(process.name if apart else program)
            expected.add(name)
            table = mine.process(name, 0 if apart or len(processes) == 1 else number)
            if table is None:
                print(f"{section}: {process.name}: there is no {name}")
                continue
            own = priorities[group] if in_group and group in GROUPS_WITH_PRIORITY else process.priority
            a, b = theirs(recorder, process, own), ours(table)
            for key in a:
                if a[key] != b[key]:
                    print(f"{section}: {process.name}: {key} was {a[key]!r}, and is {b[key]!r}")
            wanted = 1 if apart else len(processes)
            if table.get("numprocs", 1) != wanted:
                print(f"{section}: numprocs is {table.get('numprocs', 1)}, not {wanted}")
            compared += 1
    for name in mine.config.get("programs", {}).keys() - expected:
        print(f"{name} is in ours only")
    print(compared)


def group_sections(conf):
    """The groups, and those that name a priority."""
    parser = options.UnhosedConfigParser()
    parser.read(conf)
    groups = {section for section in parser.sections() if section.startswith("group:")}
    return groups, {name.partition(":")[2] for name in groups if parser.has_option(name, "priority")}


if __name__ == "__main__":
    GROUPS, GROUPS_WITH_PRIORITY = group_sections(sys.argv[1])
    main(sys.argv[1], sys.argv[2])
