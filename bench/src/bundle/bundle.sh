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
# uncompressed inside, since xz packs it better than zip does; of native libraries, those of this platform
for jar in "$work"/millrace/lib/*.jar "$work"/millrace/plugins/*.jar; do
  rm -rf "$work/jar"
  mkdir "$work/jar"
  (cd "$work/jar" && "$JDK25/bin/jar" xf "$jar" && rm -rf native/lib/win* native/lib/osx* native/lib/linux-aarch64 \
    && "$JDK25/bin/jar" cf0M "$jar" .)
done
"$JDK25/bin/jlink" --compress zip-0 --no-header-files --no-man-pages --strip-debug \
    --add-modules java.base,java.logging,java.management,jdk.management,java.naming,java.xml,jdk.incubator.vector,jdk.jfr,jdk.unsupported,jdk.zipfs \
    --output "$work/millrace/jre"
# An archive of the classes that a run loads and of those that the device plugin may, for this runtime and these jars
classes=$work/millrace/lib/classes.jsa
rm -f "$classes"
MILLRACE_OPTS="-XX:DumpLoadedClassList=$work/list" "$work/millrace/bin/millrace" generate Once -n 8 --stats >/dev/null
cat "$work/millrace/jre/lib/classlist" >> "$work/list"
for jar in "$work"/millrace/plugins/*.jar; do
  "$JDK25/bin/jar" tf "$jar" | sed -n 's/\.class$//p' | grep -v 'package-info\|META-INF\|module-info' >> "$work/list"
done
MILLRACE_OPTS="-Xshare:dump -XX:SharedClassListFile=$work/list -XX:SharedArchiveFile=$classes" "$work/millrace/bin/millrace" >/dev/null
case $out in /*) ;; *) out=$PWD/$out ;; esac
(cd "$work" && XZ_OPT="-9e -T0" tar cJf "$out" millrace)
ls -l "$out"
