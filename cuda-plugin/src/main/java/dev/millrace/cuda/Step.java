package dev.millrace.cuda;

import dev.millrace.core.graph.Node;

/** A node of the graph, ready to launch its kernels. */
interface Step {
    Node node();

    /** Launches what it takes for one shape. */
    void emit(Emission e);
}
