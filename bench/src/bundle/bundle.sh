#!/bin/sh
# Packs the distribution with a Java runtime of its own, for machines without Java (GPU servers, mostly).
#   sh bundle.sh DISTRIBUTION OUTPUT.tar.xz        JAVA_HOME or PATH: a JDK 25 with jlink
# Unpack where xz is missing: python3 -c 'import tarfile; tarfile.open("OUTPUT.tar.xz").extractall()'
set -e
dist=${1:?usage: bundle.sh DISTRIBUTION OUTPUT.tar.xz}
out=${2:?usage: bundle.sh DISTRIBUTION OUTPUT.tar.xz}
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../bin/find-jdk.sh"
NEED_JAVAC=1
find_jdk25
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$dist" "$work/millrace"
rm -f "$work/millrace/.built"
# the embedded model is in a jar, too
rm -r "$work/millrace/models"
# uncompressed inside, since xz packs it better than zip does
"$JDK25/bin/jlink" --compress zip-0 --no-header-files --no-man-pages --strip-debug \
    --add-modules java.base,java.logging,java.management,jdk.management,java.naming,java.xml,jdk.incubator.vector,jdk.jfr,jdk.unsupported,jdk.zipfs \
    --output "$work/millrace/jre"
case $out in /*) ;; *) out=$PWD/$out ;; esac
(cd "$work" && XZ_OPT="-9e -T0" tar cJf "$out" millrace)
ls -l "$out"
