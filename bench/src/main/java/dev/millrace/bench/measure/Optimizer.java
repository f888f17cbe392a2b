package dev.millrace.bench.measure;

import java.lang.management.ManagementFactory;
import javax.management.JMException;
import javax.management.MBeanServer;
import javax.management.ObjectName;

/** HotSpot's optimizing compiler, C2: code that it has not replaced yet is many times slower, and evenly so. */
final class Optimizer {
    private static final String C2 = "C2 ";

    private Optimizer() {}

    /**
     * Whether C2 is compiling a method or has one waiting, as the command {@code Compiler.queue} of {@code jcmd} tells; false
     * on a JVM without that command.
     */
    static boolean busy() {
        try {
            MBeanServer server = ManagementFactory.getPlatformMBeanServer();
            Object queues = server.invoke(
                    new ObjectName("com.sun.management:type=DiagnosticCommand"),
                    "compilerQueue",
                    new Object[] {new String[0]},
                    new String[] {String[].class.getName()});
            return busy((String) queues);
        } catch (JMException e) {
            return false;
        }
    }

    /** The same of what the command printed: each compiling thread with its method, then each queue or "Empty". */
    static boolean busy(String queues) {
        boolean inQueue = false;
        for (String line : queues.lines().map(String::strip).toList()) {
            if (line.startsWith(C2 + "compile queue")) {
                inQueue = true;
            } else if (line.startsWith(C2)) {
                return true; // "C2 CompilerThread0  1804  4  Class::method (354 bytes)"
            } else if (inQueue && !line.isEmpty()) {
                return !line.equals("Empty");
            }
        }
        return false;
    }
}
