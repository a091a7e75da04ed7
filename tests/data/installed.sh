# The life of the package on a clean system, in a machine of its own with systemd. /job has first.deb and
# second.deb. Prints a line for each fact; what goes wrong is on standard error, and the fact is missing.
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
unit=taskmaster.service

property() { systemctl show --value --property="$1" "$unit"; }
state() { taskmasterctl status --json "$@" | tr -d ' \n'; }
is_status() { [ "$(property StatusText)" = "$1" ]; }
pid_differs() { local now; now=$(property MainPID); [ "$now" != 0 ] && [ "$now" != "$1" ] && systemctl --quiet is-active "$unit"; }
web_runs() { state web | grep -q '"state":"RUNNING"'; }

apt-get install --yes --no-install-recommends /job/first.deb >&2
say "installed: $(systemctl is-active $unit) $(systemctl is-enabled $unit)"
say "accounts: $(getent passwd taskmaster-log taskmaster-notify taskmaster-shell | cut -d: -f1 | tr '\n' ' ')$(getent group taskmaster | cut -d: -f1)"
journalctl -u $unit -o cat >/tmp/first
cat /tmp/first >&2
! grep -qi warning /tmp/first && grep -q 'no programs are configured yet' /tmp/first && say "first start: a note and no warning"
say "type: $(property Type) $([ "$(property ActiveState)" = active ] && echo ready)"
until_true is_status 'no processes' && say "status: no processes"
say "helpers: $(ps -o user:20= --ppid "$(property MainPID)" | sort | grep taskmaster- | tr -d ' ' | tr '\n' ' ' | sed 's/ $//')"
taskmasterd check | grep -q valid && say "check: valid"

# A mail server for the local mailbox of root.
postconf -e inet_interfaces=loopback-only mydestination=localhost alias_maps= local_recipient_maps= myhostname=localhost
systemctl restart postfix
cat >>/etc/taskmaster/taskmaster.toml <<'TOML'

[notify]
group_wait = 0

[notify.email]
transport = "sendmail"
from = "taskmaster@localhost"
to = ["root@localhost"]
TOML
cat >/etc/taskmaster/conf.d/web.toml <<'TOML'
[programs.web]
cmd = "/bin/sleep 100000"
user = "nobody"
TOML
systemctl reload $unit && until_true web_runs &&
	say "reload: applied, web RUNNING as $(ps -o user= -p "$(taskmasterctl pid web)")"
until_true is_status '1 process: 1 running' && say "status: 1 process: 1 running"
member() { setpriv --reuid=daemon --regid=daemon --groups="$(getent group taskmaster | cut -d: -f3)" taskmasterctl "$@"; }
member status | grep -q RUNNING && { member stop web >&2; [ $? = 5 ]; } && say "member: sees web and may not stop it"
# The delegated group of the version 2 hierarchy.
say "group: $(sed -n 's/^0:://p' "/proc/$(taskmasterctl pid web)/cgroup" | grep -o "^/system.slice/$unit/")"

pid=$(taskmasterctl pid web)
cp /etc/taskmaster/conf.d/web.toml /tmp/web.toml
sed -i 's/^cmd/cmdd/' /etc/taskmaster/conf.d/web.toml
if ! systemctl reload $unit 2>/dev/null && journalctl -u $unit | grep -q 'cmdd' && [ "$(taskmasterctl pid web)" = "$pid" ]; then
	say "refused reload: failed with the faults, web goes on"
fi
cp /tmp/web.toml /etc/taskmaster/conf.d/web.toml
systemctl reload $unit

kill -SEGV "$pid"
mail_came() { grep -q 'web crashed' /var/mail/root; }
until_true mail_came && say "mail: web crashed"

# A supervisor that hangs; 2 seconds instead of the unit's 30.
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=2s\n' >/etc/systemd/system/$unit.d/fast.conf
systemctl daemon-reload
systemctl restart $unit
until_true web_runs
old=$(property MainPID)
kill -STOP "$old"
until_true pid_differs "$old" && journalctl -u $unit | grep -q 'Watchdog timeout' && say "hang: the watchdog restarted it"
rm /etc/systemd/system/$unit.d/fast.conf
systemctl daemon-reload
systemctl restart $unit

until_true web_runs
old=$(property MainPID) program=$(taskmasterctl pid web)
kill -KILL "$old"
until_true pid_differs "$old" && until_true web_runs && say "kill: restarted"
kill -0 "$program" 2>/dev/null || say "old program: gone"

old=$(property MainPID) program=$(taskmasterctl pid web)
apt-get install --yes --no-install-recommends /job/second.deb >/tmp/upgrade 2>&1
if [ "$(property MainPID)" = "$old" ] && [ "$(taskmasterctl pid web)" = "$program" ] &&
	grep -q "systemctl restart taskmaster" /tmp/upgrade; then
	say "upgrade: same supervisor, same program, told how"
fi
cat /tmp/upgrade >&2
grep -q 'root@localhost' /etc/taskmaster/taskmaster.toml && say "configuration: kept"
systemctl restart $unit && pid_differs "$old" && say "restart: new supervisor"

until_true web_runs
program=$(taskmasterctl pid web)
apt-get remove --yes taskmaster >&2
if ! kill -0 "$program" 2>/dev/null && [ ! -e /run/taskmaster ] && [ ! -e /usr/bin/taskmasterd ] &&
	[ -e /etc/taskmaster/taskmaster.toml ] && ! ps -e -o comm= | grep -q '^taskmaster'; then
	say "removal: stopped, nothing left"
fi
apt-get purge --yes taskmaster >&2
[ ! -e /var/lib/taskmaster ] && [ ! -e /var/log/taskmaster ] && [ ! -e /etc/taskmaster/taskmaster.toml ] && say "purge: no state"
# As on Ubuntu.
rm /etc/taskmaster/conf.d/web.toml
groupadd --system syslog
chgrp syslog /var/log
chmod 775 /var/log
apt-get install --yes --no-install-recommends /job/first.deb >&2
say "group's /var/log: $(systemctl is-active $unit), $(ls /var/lib/taskmaster/log)"
apt-get purge --yes taskmaster >&2
[ ! -e /var/lib/taskmaster ] && [ ! -e /etc/taskmaster ] && say "purge: nothing at all"
say "journal: $(journalctl -u $unit | grep -o 'Reloading' | sort -u)"
journalctl -u $unit --no-pager -o cat | tail -n 60 >&2
say end
