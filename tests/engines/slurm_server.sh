#!/usr/bin/env bash
# A SLURM of two nodes in name on this machine, for root on Debian with slurm-wlm and munge: slurm_server.sh start|stop FOLDER
set -euo pipefail
action=$1 folder=$(realpath -m "$2")
mkdir -p "$folder/state"
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

stop() {
    for name in slurmd_a slurmd_b slurmctld munged; do
        [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
    done
}

if [ "$action" = stop ]; then stop; exit 0; fi

cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool_%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd_%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName=a NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=1 State=UNKNOWN
NodeName=b NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=1 State=UNKNOWN
PartitionName=all Nodes=a,b Default=YES MaxTime=60 State=UP OverSubscribe=FORCE:4
END

head -c 1024 /dev/urandom >"$folder/munge.key"
chmod 400 "$folder/munge.key"
munged --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
    --log-file "$folder/munged.log" --seed-file "$folder/munged.seed"
slurmctld
for node in a b; do
    mkdir -p "$folder/spool_$node"
    slurmd -N "$node"
done
for _ in $(seq 50); do
    [ "$(sinfo -h -o %t -N 2>/dev/null | grep -c idle)" = 2 ] && { sinfo; exit 0; }
    sleep 0.2
done
sinfo || true
echo "SLURM did not start; see $folder/*.log" >&2
exit 1
