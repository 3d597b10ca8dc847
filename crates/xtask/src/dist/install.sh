# Installs the Debian package in a fresh root, runs the services as their units say, upgrades, removes and purges.
#
# Run by `cargo xtask test dist` in mount, process and network namespaces of its own: when this script ends, however it
# ends, the kernel ends what it started and unmounts what it mounted, and its ports were never those of the machine.
#
#   $1  a Debian root that stays as it is
#   $2  a directory to mount on
#   $3  the package
#   $4  the package in a newer version
#   $5  the directory of everything that was made
#
# Each line "ok: ..." is a check that passed. The first that does not ends the script.
set -eu

base=$1 work=$2 package=$3 newer=$4 artefacts=$5
auth=http://127.0.0.1:8080 resource=http://127.0.0.1:8081
json='content-type: application/json'
credentials='{"username":"alice","password":"open sesame, but only here"}'
# A number of those from which systemd takes dynamic users.
dynamic=61234

ok() { echo "ok: $*"; }
fail() {
    echo "FAILED: $*"
    cat "$work"/*.log 2>/dev/null || true
    exit 1
}
in_root() {
    chroot "$root" /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
# The value of a JSON field that is text.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
# The last value of a setting of a unit.
setting() { sed -n "s/^$2=//p" "$root/usr/lib/systemd/system/$1.service" | tail -n 1; }
# Fails unless what is found is what is wanted: what, found, wanted.
same() { [ "$2" = "$3" ] || fail "$1: $2 instead of $3"; }
# Fails unless this is all that the package has asked of systemd since the last time.
asked() {
    same "what was asked of systemd" "$(cat "$root/asked")" "$1"
    rm "$root/asked"
}
mode_and_owner() { in_root stat -c '%a %U:%G' "$1"; }

# Starts a service as systemd would: the unit's user, group, variables, directories and credentials, no capability, no
# new privileges, and a root in which only the unit's directories are writable.
start() {
    unit=$1
    user=$(setting "$unit" User)
    if [ "$(setting "$unit" DynamicUser)" = yes ]; then
        uid=$dynamic gid=$dynamic
    else
        uid=$(in_root id -u "$user") gid=$(in_root id -g "$user")
    fi
    writable=
    for kind in State:/var/lib Runtime:/run; do
        name=$(setting "$unit" "${kind%%:*}Directory")
        [ -n "$name" ] || continue
        directory=${kind#*:}/$name
        mkdir -p "$root$directory"
        chown "$uid:$gid" "$root$directory"
        chmod "$(setting "$unit" "${kind%%:*}DirectoryMode")" "$root$directory"
        writable="$writable $directory"
    done
    given=/run/credentials/$unit.service
    credential=$(setting "$unit" LoadCredential)
    if [ -n "$credential" ]; then
        mkdir -p "$root$given"
        install -o "$uid" -g "$gid" -m 0400 "$root${credential#*:}" "$root$given/${credential%%:*}"
        chown "$uid:$gid" "$root$given"
        chmod 0500 "$root$given"
    fi
    # The file has its variables as a shell reads them too. They override those of the unit, and so come last.
    {
        setting "$unit" Environment | sed "s:%d:$given:"
        cat "$root$(setting "$unit" EnvironmentFile)"
    } | sed -n 's/^[A-Z_]*=/export &/p' >"$root/run/$unit.variables"
    in_root unshare --mount --fork --kill-child sh -euc '
        for directory in $5; do mount --bind "$directory" "$directory"; done
        mount -t tmpfs tmpfs /tmp
        mount -o remount,bind,ro /
        . "/run/$1.variables"
        cd "${6:-/}"
        exec setpriv --reuid "$2" --regid "$3" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$4"
    ' start "$unit" "$uid" "$gid" "$(setting "$unit" ExecStart)" "$writable" "$(setting "$unit" WorkingDirectory)" \
        >"$work/$unit.log" 2>&1 &
    eval "$(echo "$unit" | tr - _)=$!"
    program=$(basename "$(setting "$unit" ExecStart)")
    tries=0
    until in_root sh -c ". /run/$unit.variables && $program healthcheck" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 150 ] && kill -0 "$!" 2>/dev/null || fail "$unit does not become ready"
        sleep 0.2
    done
}

# Ends a service as systemd would, and waits for it: it must end well.
stop() {
    waiting=$(eval "echo \$$(echo "$1" | tr - _)")
    program=$(basename "$(setting "$1" ExecStart)")
    signal=$(setting "$1" KillSignal)
    # The kernel knows a process by the first 15 letters of its program.
    for process in /proc/[0-9]*; do
        [ "$(cat "$process/comm" 2>/dev/null)" != "$(echo "$program" | cut -c 1-15)" ] ||
            kill -s "${signal#SIG}" "${process#/proc/}"
    done
    wait "$waiting" || fail "$1 did not end well at $signal: $?"
}

mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs "$work"
mkdir "$work/upper" "$work/overlay" "$work/root"
root=$work/root
mount -t overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/overlay" overlay "$root"
mount -t proc proc "$root/proc"
ip link set lo up

# No systemd runs in the root: what the package asks of it is written down.
mkdir -p "$root/run/systemd/system"
for program in systemctl deb-systemd-invoke; do
    printf '#!/bin/sh\necho "%s $*" >>/asked\n' "$program" >"$root/usr/local/bin/$program"
    chmod 755 "$root/usr/local/bin/$program"
done

(cd "$artefacts" && sha256sum --check --strict --quiet SHA256SUMS) || fail "a checksum is wrong"
tar --extract --file "$artefacts"/latchkey-*.tar.gz --directory "$root" --strip-components 1 --one-top-level=tarball
for program in auth-service resource-service latchkey; do
    in_root "/tarball/bin/$program" --version >/dev/null || fail "$program of the tarball does not run"
done
ok "the checksums are right, and the programs of the tarball run"

cp "$package" "$root/first.deb"
cp "$newer" "$root/second.deb"
in_root dpkg -i /first.deb >"$work/dpkg.log" 2>&1 || fail "the package cannot be installed"
same "settings of the auth-service" "$(mode_and_owner /etc/latchkey/auth-service.env)" "640 root:root"
same "settings of the resource-service" "$(mode_and_owner /etc/latchkey/resource-service.env)" "640 root:root"
same "secrets" "$(mode_and_owner /etc/latchkey/secrets)" "700 latchkey:latchkey"
same "state" "$(mode_and_owner /var/lib/latchkey)" "700 latchkey:latchkey"
same "secrets before the operator makes them" "$(ls "$root/etc/latchkey/secrets")" ""
same "units that are enabled" "$(ls "$root/etc/systemd/system/multi-user.target.wants" 2>/dev/null | grep latchkey)" ""
asked "systemctl --system daemon-reload"
for licence in copyright LICENSE-APACHE LICENSE-MIT common_passwords.LICENSE; do
    [ -s "$root/usr/share/doc/latchkey/$licence" ] || fail "there is no $licence"
done
ok "the package installs, with a user, directories, licences, no secrets and nothing enabled"

# `verify` wants to see the targets that the units name.
cp /usr/lib/systemd/system/*.target "$root/run/systemd/system/"
for unit in latchkey-auth latchkey-resource; do
    said=$(systemd-analyze verify --root="$root" "$unit.service" 2>&1) || fail "$unit: $said"
    same "systemd-analyze verify $unit" "$said" ""
    systemd-analyze security --no-pager --offline=true --root="$root" --threshold=20 "$unit.service" \
        >"$work/security.txt" || fail "$unit is exposed more than it should be"
    exposed=$(sed -n 's/.*: \([0-9.]*\) .*/\1/p' "$work/security.txt" | tail -n 1)
    ok "$unit: verified, and exposed by $exposed of 10"
done
rm "$root"/run/systemd/system/*.target

in_root runuser -u latchkey -- auth-service secrets /etc/latchkey/secrets
same "master key" "$(mode_and_owner /etc/latchkey/secrets/auth/master_key)" "400 latchkey:latchkey"
start latchkey-auth
start latchkey-resource
ok "both services become ready as their units run them"

in_root sh -c 'set -a; . /etc/latchkey/auth-service.env; set +a; runuser -u latchkey -- auth-service doctor' \
    >"$work/doctor.log" 2>&1 || fail "doctor finds something bad"
ok "an operator's command finds settings, database and keys"

curl -sS -o /dev/null -f $auth/register -H "$json" -d "$credentials" || fail "nobody can register"
answer=$(curl -sS -f $auth/login -H "$json" -d "$credentials") || fail "nobody can log in"
access=$(echo "$answer" | field access_token) refresh=$(echo "$answer" | field refresh_token)
curl -sS -f $resource/whoami -H "authorization: Bearer $access" | grep -q '"sub"' ||
    fail "the resource-service refuses a good token"
ok "a user registers, logs in and is known to the resource-service"

echo 'AUTH__TOKENS__ACCESS_SECONDS=120' >>"$root/etc/latchkey/auth-service.env"
in_root dpkg -i /second.deb >"$work/dpkg.log" 2>&1 || fail "the newer version cannot be installed"
asked "systemctl --system daemon-reload
deb-systemd-invoke try-restart latchkey-auth.service latchkey-resource.service"
same "version" "$(in_root dpkg-query -Wf '${Version}' latchkey)" "$(dpkg-deb -f "$newer" Version)"
grep -q '^AUTH__TOKENS__ACCESS_SECONDS=120$' "$root/etc/latchkey/auth-service.env" || fail "an upgrade forgets settings"
stop latchkey-resource
stop latchkey-auth
ok "both end well at SIGTERM"
start latchkey-auth
start latchkey-resource
answer=$(curl -sS -f $auth/refresh -H "$json" -d "{\"refresh_token\":\"$refresh\"}") ||
    fail "an upgrade ends sessions"
access=$(echo "$answer" | field access_token) refresh=$(echo "$answer" | field refresh_token)
lifetime=$(echo "$answer" | sed -n 's/.*"expires_in":\([0-9]*\).*/\1/p')
[ "$lifetime" -le 120 ] || fail "a setting of before the upgrade is not used: $lifetime"
curl -sS -f -o /dev/null $resource/whoami -H "authorization: Bearer $access" ||
    fail "a token of after the upgrade is refused"
ok "an upgrade restarts what runs, and keeps settings, keys and sessions"

curl -sS -f -o /dev/null $auth/logout -H "$json" -d "{\"refresh_token\":\"$refresh\"}" || fail "nobody can log out"
tries=0
until [ "$(curl -sS -o /dev/null -w '%{http_code}' $resource/whoami -H "authorization: Bearer $access")" = 401 ]; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || fail "a logout is not seen"
    sleep 0.1
done
ok "a logout is seen at the resource-service"

stop latchkey-resource
stop latchkey-auth
in_root dpkg -r latchkey >"$work/dpkg.log" 2>&1 || fail "the package cannot be removed"
asked "deb-systemd-invoke stop latchkey-resource.service latchkey-auth.service
systemctl --system daemon-reload"
for gone in /usr/bin/auth-service /usr/bin/resource-service /usr/lib/systemd/system/latchkey-auth.service; do
    [ ! -e "$root$gone" ] || fail "$gone is still there after the package was removed"
done
for kept in /etc/latchkey/auth-service.env /etc/latchkey/secrets/auth/master_key /var/lib/latchkey/latchkey.db; do
    [ -s "$root$kept" ] || fail "$kept went with the package"
done
ok "removing the package keeps settings, secrets and the database"

mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s /usr/lib/systemd/system/latchkey-auth.service "$root/etc/systemd/system/multi-user.target.wants/"
in_root dpkg -P latchkey >"$work/dpkg.log" 2>&1 || fail "the package cannot be purged"
for gone in /etc/latchkey /var/lib/latchkey /etc/systemd/system/multi-user.target.wants/latchkey-auth.service; do
    [ ! -e "$root$gone" ] && [ ! -h "$root$gone" ] || fail "$gone is still there after the package was purged"
done
in_root getent passwd latchkey >/dev/null || fail "the user went with the package"
ok "purging it leaves the user and nothing else"
