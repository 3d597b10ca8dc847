# Runs in name spaces of its own (mounts, network, processes): ROOT HOME CHECKOUT CGROUP. Whatever it mounts is gone
# with its last process.
set -e
# The number of this process outside: the files of processes are still those of this machine.
read -r pid rest < /proc/self/stat
root=$1 home=$2 checkout=$3 cgroup=$4
mount --bind "$root" "$root"
cd "$root"
mkdir -p proc sys dev run tmp var/lib/docker engine checkout old etc/ssl/certs
# Other runs have the same root, one after the other or at once.
mount -o remount,bind,ro "$root" .
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --bind "$home" engine
mount --bind "$home/data" var/lib/docker
mount --bind "$checkout" checkout
mount -o remount,bind,ro checkout
pivot_root . old
exec chroot . /bin/sh -ec '
    umount -l /old
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    ip link set lo up
    echo "$1" > /engine/pid.new
    mv /engine/pid.new /engine/pid
    exec dockerd --group root --host unix:///run/docker.sock --cgroup-parent "/$0"
' "$cgroup" "$pid"
