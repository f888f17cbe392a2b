package dev.millrace.bench.profile;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** One op of a profiled step, for Java's own tools ({@code jfr print --events dev.millrace.Op}, JDK Mission Control). */
@Name("dev.millrace.Op")
@Label("Op")
@Category("Millrace")
@Description("One op of a transformer graph, timed on its device")
@StackTrace(false)
final class OpEvent extends Event {
    @Label("Path")
    String path;

    @Label("Op")
    String op;

    @Label("Group")
    String group;

    @Label("Microseconds on the device")
    double micros;
}
