# The life of the service under OpenRC, in a machine where nothing else runs. /job has the packages of OpenRC and
# of Taskmaster, and the script. Prints a line for each fact; what goes wrong is on standard error, and the fact is
# missing.
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin

service() { rc-service taskmaster "$@" >/tmp/service 2>&1; code=$?; cat /tmp/service >&2; return $code; }
told() { grep -q "$1" /tmp/service; }
pid() { taskmasterctl pid 2>/dev/null; }
web_is() { [ "$(taskmasterctl pid web)" = "$1" ]; }
is_another() { local now; now=$(pid) && [ "$now" != "$1" ]; }
none_left() { ! ps -e -o comm= | grep -q -e '^taskmaster' -e '^supervise-' -e '^sleep 1000' && ! kill -0 "$1" 2>/dev/null; }
spoil() { sed -i 's/^cmd/cmdd/' /etc/taskmaster/conf.d/web.toml; }
mend() { sed -i 's/^cmdd/cmd/' /etc/taskmaster/conf.d/web.toml; }

dpkg --install /job/*.deb >&2
install -m 755 /job/taskmaster /etc/init.d/taskmaster
openrc --no-stop default >&2
touch /run/openrc/softlevel

service start; say "start: $?$(pid >/dev/null && echo , ready)"
service status; say "status: $?"
cat >/etc/taskmaster/conf.d/web.toml <<'TOML'
[programs.web]
cmd = "/bin/sleep 100000"
user = "nobody"
starttime = 0
TOML
service reload; say "reload: $?$(taskmasterctl status web | grep -q RUNNING && echo , applied)"

web=$(taskmasterctl pid web)
spoil
service reload; say "faulty reload: $?$(told 'did you mean .cmd' && web_is "$web" && echo , told, web goes on)"
service restart; say "faulty restart: $?$(told 'did you mean .cmd' && web_is "$web" && echo , told, web goes on)"
mend

old=$(pid)
kill -KILL "$old"
until_true is_another "$old" && service status && say "killed: started again, status $?"
old=$(pid)
service restart; say "restart: $?$(is_another "$old" && echo , a new one)"

# Whoever starts it again is gone, and it is not.
web=$(taskmasterctl pid web)
kill -KILL "$(ps -o ppid= -p "$(pid)" | tr -d ' ')"
until_unsupervised() { service status; [ $? = 64 ]; }
until_true until_unsupervised && say "left behind: status 64"
service stop; say "stop: $?$(none_left "$web" && echo , nothing left)"
service status; say "status: $?"

taskmasterd --no-shell >&2 &
until_true pid
service start; say "second instance: $?$(told 'another taskmasterd runs' && echo , told)"
taskmasterctl shutdown >&2
wait
spoil
service start; say "faulty start: $?$(told 'did you mean .cmd' && none_left "$web" && echo , told)"
say end
