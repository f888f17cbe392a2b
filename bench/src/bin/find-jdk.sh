# Sourced. find_jdk25 sets JDK25 to the home of a Java 25 or newer, or prints what to do and returns 1.
# NEED_JAVAC=1: only a JDK will do. Starts no process while it looks: this runs before every command.
millrace_java_major() { # home -> MAJOR, from its release file
  MAJOR=0
  [ -r "$1/release" ] || return 0
  while IFS= read -r line; do
    case $line in
      JAVA_VERSION=*) line=${line#JAVA_VERSION=\"}; MAJOR=${line%%[!0-9]*}; MAJOR=${MAJOR:-0}; return 0 ;;
    esac
  done < "$1/release"
}
millrace_try() { # home
  [ -x "$1/bin/java" ] || return 1
  millrace_java_major "$1"
  case $seen in *" $1 "*) ;; *) seen="$seen $1 (Java $MAJOR)" ;; esac
  [ "$MAJOR" -ge 25 ] || return 1
  [ -z "$NEED_JAVAC" ] || [ -x "$1/bin/javac" ] || return 1
  JDK25=$1
}
find_jdk25() {
  seen='' JDK25=''
  [ -n "$MILLRACE_JAVA_HOME" ] && millrace_try "$MILLRACE_JAVA_HOME" && return 0
  [ -n "$JAVA_HOME" ] && millrace_try "$JAVA_HOME" && return 0
  for d in /usr/lib/jvm/* "$HOME"/.sdkman/candidates/java/* "$HOME"/.jdks/* "$HOME"/.m2/jdks/* /opt/java/* /opt/jdk* \
           /usr/java/* /Library/Java/JavaVirtualMachines/*/Contents/Home; do
    millrace_try "$d" && return 0
  done
  p=$(command -v java 2>/dev/null) && p=$(readlink -f "$p") && millrace_try "${p%/bin/java}" && return 0
  echo "millrace: needs Java 25 or newer and found${seen:- none}: install a JDK 25 under /usr/lib/jvm or set JAVA_HOME to one" >&2
  return 1
}
