#!/bin/sh
# Runs OpenSMTPD in the mount namespace it is started in: smtpd.sh UNPACKED FOLDER. Its paths are
# compiled in (accounts, spool, socket, helpers), so folders of ours are mounted over them.
set -eu
unpacked=$1
folder=$2
umask 022

mkdir -p "$folder/spool" "$folder/run" "$folder/lib/opensmtpd/empty" "$folder/box"
{
  cat /etc/passwd
  echo "opensmtpd:x:64001:64001::/var/lib/opensmtpd/empty:/usr/sbin/nologin"
  echo "opensmtpq:x:64002:64002::/var/lib/opensmtpd/empty:/usr/sbin/nologin"
  echo "reader:x:64003:64003::$folder:/usr/sbin/nologin"
} > "$folder/passwd"
{
  cat /etc/group
  echo "opensmtpd:x:64001:"
  echo "opensmtpq:x:64002:"
  echo "reader:x:64003:"
} > "$folder/group"
chown 64003:64003 "$folder/box"
chmod 700 "$folder/box"

mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group
mount --bind "$folder/spool" /var/spool
mount --bind "$folder/run" /run
mount --bind "$folder/lib" /var/lib
mount --bind "$unpacked/usr/libexec" /usr/libexec
exec "$unpacked/usr/sbin/smtpd" -d -f "$folder/smtpd.conf"
